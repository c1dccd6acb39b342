"""`palimpsest users`: the people of a tenant. Passwords are asked for, or come by standard input; every change is on record."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click
from rich.table import Column, Table

from gateway.cli.administration import minute, print_table, words
from gateway.cli.identity import Office, Typed, by_option, office, stdin_option
from gateway.people.names import Role
from gateway.registry import RegistryError

if TYPE_CHECKING:
    from gateway.administration import Decide
    from gateway.people.person import Actor

_name = click.argument("name")
_tenant = click.option("--tenant", required=True, help="Whose user; [bold]system[/] for one who serves all tenants.")
_roles = [role.value for role in Role]


@click.group(
    epilog="Examples:\n\n  palimpsest users create ada --tenant acme --role operator\n\n"
    "  palimpsest users list --tenant acme\n\n  palimpsest users disable grace --tenant acme --by ada"
)
def users() -> None:
    """People of a tenant: their roles, groups and passwords.

    Until a tenant has an operator, the account that runs the command may make its users, and the record says so; from then on
    an operator has to prove it.
    """


@users.command(
    "create",
    epilog="Examples:\n\n  palimpsest users create ada --tenant acme --role operator\n\n"
    "  palimpsest users create grace --tenant acme --display-name 'Grace Hopper' --role auditor --group leads --by ada",
)
@_name
@_tenant
@click.option("--display-name", help="As people are to read it. Default: NAME.")
@click.option("--role", "roles", multiple=True, type=click.Choice(_roles), help="What the user may do; may be repeated.")
@click.option("--group", "groups", multiple=True, help="A group that policies may name; may be repeated.")
@by_option
@stdin_option
def create(
    name: str,
    tenant: str,
    display_name: str | None,
    roles: tuple[str, ...],
    groups: tuple[str, ...],
    by: str | None,
    password_stdin: bool,
) -> None:
    """Make the user NAME: small letters, digits and . _ @ + -

    The password is asked for: 12 to 256 characters of any kind, not the name.
    """
    from gateway.people.names import check_display_name, check_user_name, groups_of
    from gateway.people.users import new_user

    check_user_name(name)
    check_display_name(display_name or name)
    in_groups, typed = groups_of(groups), Typed(password_stdin)
    with office() as here:
        here.require_tenant(tenant)
        actor = here.actor(tenant, by, typed)
        hashed = here.new_password(name, typed)
        here.change(tenant, actor, new_user(tenant, name, display_name or name, map(Role, roles), in_groups, hashed))
    click.echo(name)


@users.command("list", epilog="Examples:\n\n  palimpsest users list\n\n  palimpsest users list --tenant acme")
@click.option("--tenant", help="Only this tenant's users.")
def list_users(tenant: str | None) -> None:
    """Users with their roles, groups and states."""
    table = Table(Column("name", no_wrap=True, overflow="fold"), "tenant", "display name", "roles", "groups", "disabled")
    with office() as here:
        if tenant is not None:
            here.require_tenant(tenant)
        for user in here.directory.users(tenant):
            lists = (words(", ".join(user.roles)), words(", ".join(user.groups)))
            table.add_row(user.name, user.tenant, words(user.display_name), *lists, minute(user.disabled_at))
    print_table(table)


@users.command("show", epilog="Example:\n\n  palimpsest users show grace --tenant acme")
@_name
@_tenant
def show(name: str, tenant: str) -> None:
    """What is known of the user NAME."""
    with office() as here:
        here.require_tenant(tenant)
        user = here.directory.user(tenant, name)
        keys = [key for key in here.registry.keys(tenant) if key.user == name and key.revoked_at is None]
    state = "enabled" if user.disabled_at is None else f"disabled since {minute(user.disabled_at)}"
    click.echo(f"{user.name} of {user.tenant}: {user.display_name}, {state}")
    click.echo(f"roles: {', '.join(user.roles) or 'none'}")
    click.echo(f"groups: {', '.join(user.groups) or 'none'}")
    click.echo(f"made: {minute(user.made_at)}, password set: {minute(user.password_set_at)}")
    for key in keys:
        click.echo(f"key: {key.id} {key.label}".rstrip())


@users.command(
    "password",
    epilog="Examples:\n\n  palimpsest users password grace --tenant acme\n\n"
    "  palimpsest users password grace --tenant acme --by ada",
)
@_name
@_tenant
@click.option("--by", metavar="USER", help="The operator who does it; [bold]system/NAME[/] for one of tenant system.")
@stdin_option
def password(name: str, tenant: str, by: str | None, password_stdin: bool) -> None:
    """Set another password for the user NAME, who is signed out everywhere.

    Without --by the user does it, and is asked for the present password first.
    """
    from gateway.people.users import new_password

    typed = Typed(password_stdin)
    with office() as here:
        here.require_tenant(tenant)
        actor = _user_or_operator(here, tenant, name, by, typed)
        here.change(tenant, actor, new_password(tenant, name, here.new_password(name, typed)))
    click.echo(f"the password of {name} is set")


def _user_or_operator(here: Office, tenant: str, name: str, by: str | None, typed: Typed) -> Actor:
    """The user in person, unless an operator is named, or there is none and the account that runs this will do."""
    if by is not None or not here.directory.has_operator(tenant):
        return here.actor(tenant, by, typed)
    return here.person(tenant, name, frozenset(Role), typed)


@users.command(
    "roles",
    epilog="Example:\n\n  palimpsest users roles grace --tenant acme --add approver --remove auditor --by ada",
)
@_name
@_tenant
@click.option("--add", multiple=True, type=click.Choice(_roles), help="A role the user gets; may be repeated.")
@click.option("--remove", multiple=True, type=click.Choice(_roles), help="A role the user loses; may be repeated.")
@by_option
@stdin_option
def roles(name: str, tenant: str, add: tuple[str, ...], remove: tuple[str, ...], by: str | None, password_stdin: bool) -> None:
    """Change what the user NAME may do. Nobody changes his own roles."""
    from gateway.people.users import other_roles

    _require_some(add, remove)
    _change(tenant, name, by, password_stdin, other_roles(tenant, name, map(Role, add), map(Role, remove)))


@users.command(
    "groups",
    epilog="Example:\n\n  palimpsest users groups grace --tenant acme --add leads --by ada",
)
@_name
@_tenant
@click.option("--add", multiple=True, help="A group the user joins; may be repeated.")
@click.option("--remove", multiple=True, help="A group the user leaves; may be repeated.")
@by_option
@stdin_option
def groups(name: str, tenant: str, add: tuple[str, ...], remove: tuple[str, ...], by: str | None, password_stdin: bool) -> None:
    """Change which groups the user NAME is in. Nobody changes his own groups."""
    from gateway.people.users import other_groups

    _require_some(add, remove)
    _change(tenant, name, by, password_stdin, other_groups(tenant, name, add, remove))


@users.command("disable", epilog="Example:\n\n  palimpsest users disable grace --tenant acme --by ada")
@_name
@_tenant
@by_option
@stdin_option
def disable(name: str, tenant: str, by: str | None, password_stdin: bool) -> None:
    """Shut the user NAME out: sessions end, and within a second keys and passwords open nothing."""
    from gateway.people.users import disabled

    _change(tenant, name, by, password_stdin, disabled(tenant, name))


@users.command("enable", epilog="Example:\n\n  palimpsest users enable grace --tenant acme --by ada")
@_name
@_tenant
@by_option
@stdin_option
def enable(name: str, tenant: str, by: str | None, password_stdin: bool) -> None:
    """Let a disabled user in again, with the roles, groups, keys and password of before."""
    from gateway.people.users import enabled

    _change(tenant, name, by, password_stdin, enabled(tenant, name))


def _change(tenant: str, name: str, by: str | None, from_stdin: bool, decide: Decide) -> None:
    """Make the change and say how the user stands then."""
    with office() as here:
        here.require_tenant(tenant)
        made = here.change(tenant, here.actor(tenant, by, Typed(from_stdin)), decide)
        user = here.directory.user(tenant, name)
    state = "enabled" if user.disabled_at is None else "disabled"
    told = "" if made is not None else "nothing to change: "
    click.echo(f"{told}{name} is {state}, roles: {', '.join(user.roles) or 'none'}, groups: {', '.join(user.groups) or 'none'}")


def _require_some(add: tuple[str, ...], remove: tuple[str, ...]) -> None:
    if not add and not remove:
        raise RegistryError("nothing to change: give --add or --remove")
