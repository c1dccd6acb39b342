"""`palimpsest tenants` and `palimpsest keys`: every change is on record before it is in force."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import rich_click as click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from gateway.cli.identity import F, Typed, by_option, office, stdin_option
from gateway.review.marks import on_a_line


def _days(without: str) -> Callable[[F], F]:
    about = f"Days until it expires ({without} if left out)."
    return click.option("--expires", "days", type=click.IntRange(1, 3650), metavar="DAYS", help=about)


@click.group(epilog="Examples:\n\n  palimpsest tenants create acme\n\n  palimpsest tenants list")
def tenants() -> None:
    """Tenants: each has a log, people and keys of its own."""


@tenants.command("create", epilog="Example:\n\n  palimpsest tenants create acme")
@click.argument("name")
@click.option("--by", metavar="USER", help="An operator of tenant system, who does it. Needed from its first operator on.")
@stdin_option
def create_tenant(name: str, by: str | None, password_stdin: bool) -> None:
    """Make the tenant NAME: small letters, digits, '.', '_' and '-'. It is on record in the log of tenant system."""
    from audit.writer import SYSTEM
    from gateway.tenancy import tenant_made

    decide = tenant_made(name)
    with office() as here:
        here.change(SYSTEM, here.actor(SYSTEM, by, Typed(password_stdin)), decide)
    click.echo(name)


@tenants.command("list", epilog="Example:\n\n  palimpsest tenants list")
def list_tenants() -> None:
    """All tenants, one a line."""
    with office() as here:
        for name in here.registry.tenants():
            click.echo(name)


@click.group(
    epilog="Examples:\n\n  palimpsest keys create --tenant acme --label laptop\n\n  palimpsest keys list --tenant acme\n\n"
    "  palimpsest keys revoke 01936f5e-0000-7000-8000-000000000001"
)
def keys() -> None:
    """API keys: shown once when made, kept as hashes."""


@keys.command(
    "create",
    epilog="Examples:\n\n  export OPENAI_API_KEY=$(palimpsest keys create --tenant acme --label laptop)\n\n"
    "  palimpsest keys create --tenant acme --user grace --expires 90 --by ada",
)
@click.option("--tenant", required=True, help="Whose key it is.")
@click.option("--label", default="", help="A reminder of what the key is for.")
@click.option("--user", help="The user who asks with it: requests have this user's groups, and end with this user.")
@_days("never")
@by_option
@stdin_option
def create_key(tenant: str, label: str, user: str | None, days: int | None, by: str | None, password_stdin: bool) -> None:
    """Make a key and print it; it cannot be shown again."""
    from gateway.registry import check_name
    from gateway.tenancy import key_made, new_key

    check_name(tenant)
    made = new_key()
    decide = key_made(made, tenant, label, user, days)
    with office() as here:
        here.require_tenant(tenant)
        here.change(tenant, here.actor(tenant, by, Typed(password_stdin)), decide)
    click.echo(f"key {made.id} of tenant {tenant}", err=True)
    click.echo(made.text)


@keys.command(
    "rotate",
    epilog="Example, before a key expires and at once when it may be known to others:\n\n"
    "  export OPENAI_API_KEY=$(palimpsest keys rotate 01936f5e-0000-7000-8000-000000000001)",
)
@click.argument("key_id", type=click.UUID)
@_days("as it is")
@by_option
@stdin_option
def rotate_key(key_id: UUID, days: int | None, by: str | None, password_stdin: bool) -> None:
    """Give the key KEY_ID another secret and print it; within a second the old one opens nothing.

    Label, user and, without --expires, the date of its end stay as they are. `palimpsest keys list` shows the ids.
    """
    from gateway.tenancy import key_rotated, new_text

    text = new_text()
    with office() as here:
        tenant = here.registry.tenant_of(key_id)
        here.change(tenant, here.actor(tenant, by, Typed(password_stdin)), key_rotated(key_id, text, days))
    click.echo(f"key {key_id} of tenant {tenant}", err=True)
    click.echo(text)


@keys.command("list", epilog="Examples:\n\n  palimpsest keys list\n\n  palimpsest keys list --tenant acme")
@click.option("--tenant", help="Only this tenant's keys.")
def list_keys(tenant: str | None) -> None:
    """Keys with their ids, labels and states."""
    table = Table(Column("id", no_wrap=True, overflow="fold"), "tenant", "label", "user", "made", "expires", "revoked")
    with office() as here:
        if tenant is not None:
            here.require_tenant(tenant)
        for key in here.registry.keys(tenant):
            times = map(minute, (key.created_at, key.expires_at, key.revoked_at))
            table.add_row(str(key.id), key.tenant, words(key.label), key.user or "", *times)
    print_table(table)


@keys.command("revoke", epilog="Example:\n\n  palimpsest keys revoke 01936f5e-0000-7000-8000-000000000001")
@click.argument("key_id", type=click.UUID)
@by_option
@stdin_option
def revoke_key(key_id: UUID, by: str | None, password_stdin: bool) -> None:
    """Revoke the key KEY_ID: within a second it opens nothing. `palimpsest keys list` shows the ids."""
    from gateway.tenancy import key_revoked

    with office() as here:
        tenant = here.registry.tenant_of(key_id)
        here.change(tenant, here.actor(tenant, by, Typed(password_stdin)), key_revoked(key_id))
    click.echo(f"revoked {key_id}")


def words(text: str | None) -> Text:
    """A cell with what others wrote: whatever would act on a terminal, which `Text` lets through, is spelled out."""
    return Text(on_a_line(text or ""))


def print_table(table: Table) -> None:
    """A pipe has no width that rows must fit: there each row stays one line, whole."""
    Console(width=None if sys.stdout.isatty() else 1000).print(table)


def minute(time: datetime | None) -> str:
    """A time as lists show it; empty for none."""
    return "" if time is None else f"{time:%Y-%m-%d %H:%M}"
