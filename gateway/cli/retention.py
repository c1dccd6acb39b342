"""`palimpsest retention`: erasure, legal holds and retention, each recorded in the tenant's log before it is done."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import rich_click as click

from gateway.cli.identity import Office, Typed, office, reason_option, stdin_option
from gateway.people.duties import CONTENT
from gateway.registry import require_subject
from gateway.review.marks import on_a_line

if TYPE_CHECKING:
    from audit.lifecycle import Lifecycle, RetiredBodies, Warrant

T = TypeVar("T")

_tenant = click.option("--tenant", required=True, help="Whose log.")
_by = click.option("--by", required=True, metavar="USER", help="Who asks for it: an operator, who proves it by a password.")
_approved = click.option("--approved-by", required=True, metavar="USER", help="Who agrees: an auditor, another user.")
_reason = reason_option()


def _act(here: Office, tenant: str, act: Callable[[Lifecycle], Awaitable[T]]) -> T:
    """Do one act on the logs of this installation."""

    async def run() -> T:
        async with here.lifecycle(tenant) as lifecycle:
            return await act(lifecycle)

    return asyncio.run(run())


def _warrant(here: Office, tenant: str, reason: str, by: str, approved_by: str, typed: Typed) -> Warrant:
    from gateway.people.two import Asked

    return here.warrant(tenant, reason, (Asked(by, CONTENT.asks), Asked(approved_by, CONTENT.agrees)), typed)


def _drop_archives(here: Office, tenant: str) -> None:
    """Exports on the shelf of the gateway's pages that show content go with it."""
    from gateway.export_shelf import ExportShelf

    ExportShelf.of(here).drop_disclosed(tenant)


@click.group(
    epilog="Examples:\n\n  palimpsest retention show --tenant acme\n\n"
    "  palimpsest retention rule --tenant acme --days 184 --reason 'six months' --by ada --approved-by grace\n\n"
    "Once a day:\n\n  palimpsest retention retire --tenant acme"
)
def retention() -> None:
    """How long content lives: erasure, legal holds, retention. The proofs of the log outlive all of it."""


@retention.command(
    "erase",
    epilog="Example:\n\n  palimpsest retention erase --tenant acme --subject 01936f5e-0000-7000-8000-000000000001 "
    "--reason 'request 17' --by ada --approved-by grace",
)
@_tenant
@click.option("--subject", required=True, help="Whose content: the id of an API key.")
@_reason
@_by
@_approved
@stdin_option
def erase(tenant: str, subject: str, reason: str, by: str, approved_by: str, password_stdin: bool) -> None:
    """Destroy the keys of one subject: everything sealed for it becomes unreadable, in backups of the database too."""
    with office() as here:
        here.require_tenant(tenant)
        warrant = _warrant(here, tenant, reason, by, approved_by, Typed(password_stdin))
        done = _act(here, tenant, lambda lifecycle: lifecycle.erase(tenant, subject, warrant))
        _drop_archives(here, tenant)
    click.echo(f"record {done.seq}: {_keys(len(done.key_ids))} destroyed")


@retention.command("hold", epilog="Example:\n\n  palimpsest retention hold --tenant acme --reason 'case 7' --by ada")
@_tenant
@click.option("--subject", help="Whose content: the id of an API key; without it, the whole tenant's.")
@_reason
@click.option("--by", required=True, metavar="USER", help="Who places it: an operator or an auditor, who proves it.")
@stdin_option
def hold(tenant: str, subject: str | None, reason: str, by: str, password_stdin: bool) -> None:
    """Place a legal hold: no erasure of the subject and no retirement until it is released."""
    from audit.keys import KeyStore

    with office() as here:
        here.require_tenant(tenant)
        if subject is not None:
            require_subject(here.registry, KeyStore(here.settings.keys), tenant, subject)
        person = here.person(tenant, by, CONTENT.asks | CONTENT.agrees, Typed(password_stdin))
        placed = _act(here, tenant, lambda lifecycle: lifecycle.place_hold(tenant, subject, reason, person.on_record))
    click.echo(f"record {placed.seq}: hold {placed.hold}")


@retention.command(
    "release",
    epilog="Example:\n\n  palimpsest retention release 01936f5e-0000-7000-8000-000000000001 --tenant acme "
    "--reason 'case closed' --by ada --approved-by grace",
)
@click.argument("hold_id", metavar="HOLD", type=click.UUID)
@_tenant
@_reason
@_by
@_approved
@stdin_option
def release(hold_id: UUID, tenant: str, reason: str, by: str, approved_by: str, password_stdin: bool) -> None:
    """Release a legal hold."""
    with office() as here:
        here.require_tenant(tenant)
        warrant = _warrant(here, tenant, reason, by, approved_by, Typed(password_stdin))
        seq = _act(here, tenant, lambda lifecycle: lifecycle.release_hold(tenant, hold_id, warrant))
    click.echo(f"record {seq}: hold {hold_id} is released")


@retention.command(
    "rule",
    epilog="Example:\n\n  palimpsest retention rule --tenant acme --days 184 --reason 'six months' --by ada "
    "--approved-by grace",
)
@_tenant
@click.option("--days", type=click.IntRange(1, 36_525), help="How many days bodies are kept; without it, for ever.")
@_reason
@_by
@_approved
@stdin_option
def rule(tenant: str, days: int | None, reason: str, by: str, approved_by: str, password_stdin: bool) -> None:
    """Say how long bodies are kept, from the next retirement on."""
    with office() as here:
        here.require_tenant(tenant)
        warrant = _warrant(here, tenant, reason, by, approved_by, Typed(password_stdin))
        made = _act(here, tenant, lambda lifecycle: lifecycle.set_rule(tenant, days, warrant))
    click.echo(f"record {made.seq}: bodies are kept {_span(days)}")


@retention.command("retire", epilog="Example, once a day:\n\n  palimpsest retention retire --tenant acme")
@_tenant
def retire(tenant: str) -> None:
    """Remove the bodies that the rule no longer keeps; headers and proofs stay.

    It only carries out the rule, on which two people agreed, so nobody is asked again; the account that runs this is on record.
    """
    from gateway.people.person import Account

    by = Account.mine().on_record
    with office() as here:
        here.require_tenant(tenant)
        done: RetiredBodies | None = _act(here, tenant, lambda lifecycle: lifecycle.retire(tenant, by))
        if done is not None:
            _drop_archives(here, tenant)
    if done is None:
        click.echo("nothing is old enough")
    else:
        click.echo(f"record {done.seq}: {done.bodies} bodies of records {done.first} to {done.last} removed")


@retention.command("show", epilog="Example:\n\n  palimpsest retention show --tenant acme")
@_tenant
def show(tenant: str) -> None:
    """The rule, the holds that stand, and what was erased and retired."""
    with office() as here:
        here.require_tenant(tenant)
        standing = here.standing(tenant)
    kept = standing.rule
    click.echo(f"bodies are kept {_span(None if kept is None else kept.days)}" + (f" (record {kept.seq})" if kept else ""))
    for each in standing.holds.values():
        about = "the whole tenant" if each.subject is None else f"subject {on_a_line(each.subject)}"
        click.echo(f"hold {each.hold} on {about} (record {each.seq}): {on_a_line(each.reason)}")
    for seq in sorted(set(standing.erased.values())):
        click.echo(f"record {seq} erased {_keys(sum(each == seq for each in standing.erased.values()))}")
    for done in standing.retired:
        click.echo(f"record {done.seq} retired records {done.first} to {done.last}")


def _span(days: int | None) -> str:
    return "for ever" if days is None else f"for {days} days"


def _keys(count: int) -> str:
    return "1 key" if count == 1 else f"{count} keys"
