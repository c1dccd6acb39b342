"""`palimpsest approvals`: who waits, what is held, and decisions about it, each by a person who gives a password."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

import rich_click as click
from rich.table import Column, Table

from gateway.cli.administration import minute, print_table, words
from gateway.cli.identity import Office, Typed, office, reason_option, stdin_option
from gateway.people.duties import READS_CONTENT
from gateway.people.names import Role
from gateway.registry import RegistryError

if TYPE_CHECKING:
    from gateway.approvals.approvals import Approvals
    from gateway.approvals.case import Case
    from gateway.approvals.choices import Choice, NotDecided
    from gateway.people.person import Person

R = TypeVar("R")
_DECIDERS: Final = frozenset({Role.APPROVER, Role.OPERATOR})
_READERS: Final = frozenset(READS_CONTENT)
_STATES = ("pending", "approved", "released", "rejected", "expired", "cancelled")

_generation = click.argument("generation", type=click.UUID)
_tenant = click.option("--tenant", required=True, help="Whose answer.")
_by = click.option("--by", required=True, metavar="USER", help="Who does it; [bold]system/NAME[/] for one of tenant system.")
_content = click.option("--content", required=True, metavar="SHA256", help="What was looked at, as `show` names it.")
_for = click.option("--for", "lender", metavar="USER", help="Decide in the right that this user has lent.")
_reason = click.option("--reason", default="", help="Why; recorded.")


@click.group(
    epilog="Examples:\n\n  palimpsest approvals list --tenant acme\n\n"
    "  palimpsest approvals show --tenant acme --by grace GENERATION\n\n"
    "  palimpsest approvals approve --tenant acme --by grace --content SHA256 GENERATION"
)
def approvals() -> None:
    """Held answers: what waits for a person, and what people decide. Every decision is on record with its content's hash."""


@approvals.command("list", epilog="Example:\n\n  palimpsest approvals list --tenant acme --state pending --state approved")
@_tenant
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(_STATES),
    default=("pending", "approved"),
    show_default=True,
    help="Only those that stand so; may be given several times.",
)
def list_approvals(tenant: str, states: tuple[str, ...]) -> None:
    """The queue, the most urgent first: at most 200 lines."""
    from gateway.approvals.case import State
    from gateway.projections.paging import Page
    from gateway.projections.queue import Wanted
    from gateway.projections.views import Views

    table = Table(Column("generation", no_wrap=True), "state", "cycle", "asked by", "needs", "decided by", "expires")
    with office() as here:
        here.require_tenant(tenant)
        _followed(here, tenant)
        with closing(Views(here.urls.app, _keys(here))) as views:
            rows = views.queue.waiting(tenant, Wanted(states=tuple(map(State, states))), Page(200)).rows
    for row in rows:
        needs = ", ".join(f"{need['quorum']} of {need['approval']}" for need in row.needed)
        decided = ", ".join(row.decided_by)
        expires = minute(row.expires_at)
        table.add_row(
            str(row.generation), row.state.value, str(row.cycle), words(row.requester), words(needs), words(decided), expires
        )
    print_table(table)


@approvals.command("show", epilog="Example:\n\n  palimpsest approvals show --tenant acme --by grace GENERATION")
@_generation
@_tenant
@_by
@stdin_option
def show(generation: UUID, tenant: str, by: str, password_stdin: bool) -> None:
    """The held text and how its approval stands. That it was read is on record first.

    A terminal is shown every character that has no shape of its own as U+XXXX; a pipe or a file gets the very bytes.
    """
    from gateway.on_record import record_access

    with office() as here:
        here.require_tenant(tenant)
        person = here.person(tenant, by, _READERS, Typed(password_stdin))
        record_access(here.settings, here.urls, tenant, generation, "to decide about it", person)

        async def read(service: Approvals) -> tuple[Case, str]:
            case = await service.current(tenant, generation)
            if case is None:
                raise RegistryError(f"tenant {tenant!r} has no approval {generation}: see `palimpsest approvals list`")
            return case, await service.text(case)

        case, text = with_service(here, tenant, read)
    tell(text)
    click.echo(f"---\n{_standing(case)}", err=True)


def tell(text: str) -> None:
    """Hostile text on standard output: a terminal must not obey it, and what is kept must be what is approved."""
    from gateway.review.marks import visible

    if sys.stdout.isatty():
        click.echo(visible(text))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())


@approvals.command(
    "approve", epilog="Example:\n\n  palimpsest approvals approve --tenant acme --by grace --content SHA256 GENERATION"
)
@_generation
@_tenant
@_by
@_content
@_for
@_reason
@stdin_option
def approve(
    generation: UUID, tenant: str, by: str, content: str, lender: str | None, reason: str, password_stdin: bool
) -> None:
    """Sign that this content may leave, as far as one person can."""
    from gateway.approvals.choices import Approve

    _decide(generation, tenant, by, Approve(_digest(content), reason=reason, on_behalf_of=lender), password_stdin)


@approvals.command(
    "reject",
    epilog="Example:\n\n  palimpsest approvals reject --tenant acme --by grace --content SHA256 --code unsafe "
    "--reason 'it drops a table' GENERATION",
)
@_generation
@_tenant
@_by
@_content
@_for
@click.option("--code", required=True, help="Why, in a word that statistics count.")
@reason_option("Why, in words that the client is told; recorded.")
@stdin_option
def reject(
    generation: UUID, tenant: str, by: str, content: str, lender: str | None, code: str, reason: str, password_stdin: bool
) -> None:
    """Keep it for good; the reason is told to the client."""
    from gateway.approvals.choices import Reject

    _decide(generation, tenant, by, Reject(_digest(content), code, reason, on_behalf_of=lender), password_stdin)


@approvals.command(
    "break-glass",
    epilog="Example:\n\n  palimpsest approvals break-glass --tenant acme --by ada --content SHA256 --reason outage GENERATION",
)
@_generation
@_tenant
@_by
@_content
@reason_option("Why it cannot wait; recorded, and to be reviewed by another person.")
@stdin_option
def break_glass(generation: UUID, tenant: str, by: str, content: str, reason: str, password_stdin: bool) -> None:
    """Let it go on one person's word. The log, its exports and the verifier say so until another person has reviewed it."""
    from gateway.approvals.choices import BreakGlass

    _decide(generation, tenant, by, BreakGlass(_digest(content), reason), password_stdin)


@approvals.command("revoke", epilog="Example:\n\n  palimpsest approvals revoke --tenant acme --by grace --reason R GENERATION")
@_generation
@_tenant
@_by
@reason_option()
@stdin_option
def revoke(generation: UUID, tenant: str, by: str, reason: str, password_stdin: bool) -> None:
    """Revoke your own decision, until the answer has left."""
    _act(tenant, by, password_stdin, lambda service, person: service.revoke(tenant, generation, reason, person))


@approvals.command("webhook-secret", epilog="Example:\n\n  palimpsest approvals webhook-secret > webhook.secret")
def webhook_secret() -> None:
    """Print the secret that events to PALIMPSEST_WEBHOOKS are signed with, as Standard Webhooks has it."""
    import base64
    import os

    from gateway.approvals.webhooks import webhook_secret
    from gateway.settings import Settings

    click.echo(f"whsec_{base64.b64encode(webhook_secret(Settings.read(os.environ).keys)).decode()}")


def _decide(generation: UUID, tenant: str, by: str, choice: Choice, from_stdin: bool) -> None:
    _act(tenant, by, from_stdin, lambda service, person: service.decide(tenant, generation, choice, person))


def _act(tenant: str, by: str, from_stdin: bool, act: Callable[[Approvals, Person], Awaitable[Case | NotDecided]]) -> None:
    """Do it in the name of the person, and say how the approval stands then."""
    click.echo(_standing(done_as(tenant, by, _DECIDERS, from_stdin, act)))


def done_as(
    tenant: str,
    by: str,
    roles: frozenset[Role],
    from_stdin: bool,
    act: Callable[[Approvals, Person], Awaitable[R | NotDecided]],
) -> R:
    """What became of an act in the name of a person who has one of the roles. Raises RegistryError for what is refused."""
    from gateway.approvals.choices import NotDecided

    with office() as here:
        here.require_tenant(tenant)
        person = here.person(tenant, by, roles, Typed(from_stdin))
        found = with_service(here, tenant, lambda service: act(service, person))
    if isinstance(found, NotDecided):
        raise RegistryError(f"{found.message} ({found.code})")
    return found


def with_service(here: Office, tenant: str, work: Callable[[Approvals], Awaitable[R]]) -> R:
    """The service beside a gateway that may be running."""
    from gateway.approvals.beside import approvals_beside
    from gateway.errors import GatewayError

    async def run() -> R:
        async with approvals_beside(here.settings, here.urls, tenant) as service:
            return await work(service)

    try:
        return asyncio.run(run())
    except GatewayError as error:
        raise RegistryError(error.message) from error


def _standing(case: Case) -> str:
    lacking = ", ".join(f"{need.quorum} of {need.approval}" for need in case.lacking)
    lines = [
        f"{case.state}, cycle {case.opened.cycle}, content {case.content_sha256.hex()}",
        *(f"{each.decided.decision} by {each.decided.display_name} ({each.decided.person}), {each.decided.meaning}"
          for each in case.signatures),
        *([f"needed: {lacking}"] if lacking and not case.state.ended else []),
    ]  # fmt: skip
    return "\n".join(lines)


def _digest(text: str) -> bytes:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text, re.ASCII):
        raise click.BadParameter("a SHA-256 has 64 hexadecimal digits: see `palimpsest approvals show`", param_hint="--content")
    return bytes.fromhex(text)


def _followed(here: Office, tenant: str) -> None:
    """The projection says what the log says, whether or not a gateway runs."""
    import policies
    from gateway.on_record import require_keys
    from gateway.projections.projector import Projector

    require_keys(here.settings, here.urls, tenant)  # what other keys cannot read would be told as erased
    with closing(Projector(here.urls, _keys(here), policies.load(policies.BASELINE))) as projector:
        projector.follow(tenant)


def _keys(here: Office) -> Any:
    from audit.keys import KeyStore

    return KeyStore(here.settings.keys)
