"""`palimpsest retention`: erasure, legal holds and retention, each recorded in the tenant's log before it is done."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import rich_click as click

if TYPE_CHECKING:
    from audit.lifecycle import Lifecycle, RetiredBodies, Warrant
    from gateway.database import Urls
    from gateway.settings import DatabaseUrl

T = TypeVar("T")

_tenant = click.option("--tenant", required=True, help="Whose log.")
_by = click.option("--by", required=True, metavar="PERSON", help="Who asks for it.")
_approved = click.option("--approved-by", required=True, metavar="PERSON", help="Who approves it; somebody else.")
_reason = click.option("--reason", required=True, help="Why; it is recorded.")


def _act(tenant: str, act: Callable[[Lifecycle], Awaitable[T]]) -> T:
    """Do one act on the logs of this installation, beside a gateway that may be running."""
    from audit.lifecycle import Lifecycle
    from gateway.database import open_database
    from gateway.on_record import writing
    from gateway.settings import Settings

    settings = Settings.read(os.environ)

    async def run(urls: Urls) -> T:
        async with writing(settings, urls, tenant) as writer:
            return await act(Lifecycle(writer, urls.app, urls.reader, settings.keys))

    with open_database(settings, lambda line: click.echo(line, err=True)) as urls:
        _require_known(urls.app, tenant)
        return asyncio.run(run(urls))


def _require_known(app_url: DatabaseUrl, tenant: str) -> None:
    from gateway.registry import Registry, RegistryError

    with closing(Registry(app_url)) as registry:
        if tenant not in registry.tenants():
            raise RegistryError(f"there is no tenant {tenant!r}: see `palimpsest tenants list`")


def _warrant(reason: str, by: str, approved_by: str) -> Warrant:
    from audit.lifecycle import Warrant

    return Warrant(reason, by, approved_by)


@click.group()
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
def erase(tenant: str, subject: str, reason: str, by: str, approved_by: str) -> None:
    """Destroy the keys of one subject: everything sealed for it becomes unreadable, in backups of the database too."""
    warrant = _warrant(reason, by, approved_by)
    done = _act(tenant, lambda lifecycle: lifecycle.erase(tenant, subject, warrant))
    click.echo(f"record {done.seq}: {_keys(len(done.key_ids))} destroyed")


@retention.command("hold", epilog="Example:\n\n  palimpsest retention hold --tenant acme --reason 'case 7' --by ada")
@_tenant
@click.option("--subject", help="Whose content; without it, the whole tenant's.")
@_reason
@_by
def hold(tenant: str, subject: str | None, reason: str, by: str) -> None:
    """Place a legal hold: no erasure of the subject and no retirement until it is released."""
    placed = _act(tenant, lambda lifecycle: lifecycle.place_hold(tenant, subject, reason, by))
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
def release(hold_id: UUID, tenant: str, reason: str, by: str, approved_by: str) -> None:
    """Release a legal hold."""
    warrant = _warrant(reason, by, approved_by)
    seq = _act(tenant, lambda lifecycle: lifecycle.release_hold(tenant, hold_id, warrant))
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
def rule(tenant: str, days: int | None, reason: str, by: str, approved_by: str) -> None:
    """Say how long bodies are kept, from the next retirement on."""
    warrant = _warrant(reason, by, approved_by)
    made = _act(tenant, lambda lifecycle: lifecycle.set_rule(tenant, days, warrant))
    click.echo(f"record {made.seq}: bodies are kept {_span(days)}")


@retention.command("retire", epilog="Example, once a day:\n\n  palimpsest retention retire --tenant acme --by cron")
@_tenant
@_by
def retire(tenant: str, by: str) -> None:
    """Remove the bodies that the rule no longer keeps; headers and proofs stay."""
    done: RetiredBodies | None = _act(tenant, lambda lifecycle: lifecycle.retire(tenant, by))
    if done is None:
        click.echo("nothing is old enough")
    else:
        click.echo(f"record {done.seq}: {done.bodies} bodies of records {done.first} to {done.last} removed")


@retention.command("show", epilog="Example:\n\n  palimpsest retention show --tenant acme")
@_tenant
def show(tenant: str) -> None:
    """The rule, the holds that stand, and what was erased and retired."""
    from audit.keys import KeyStore
    from audit.lifecycle import read_standing
    from gateway.database import open_database
    from gateway.settings import Settings

    settings = Settings.read(os.environ)
    with open_database(settings, lambda line: click.echo(line, err=True)) as urls:
        _require_known(urls.app, tenant)
        standing = read_standing(urls.reader, tenant, KeyStore(settings.keys))
    kept = standing.rule
    click.echo(f"bodies are kept {_span(None if kept is None else kept.days)}" + (f" (record {kept.seq})" if kept else ""))
    for each in standing.holds.values():
        about = "the whole tenant" if each.subject is None else f"subject {each.subject}"
        click.echo(f"hold {each.hold} on {about} (record {each.seq}): {each.reason}")
    for seq in sorted(set(standing.erased.values())):
        click.echo(f"record {seq} erased {_keys(sum(each == seq for each in standing.erased.values()))}")
    for done in standing.retired:
        click.echo(f"record {done.seq} retired records {done.first} to {done.last}")


def _span(days: int | None) -> str:
    return "for ever" if days is None else f"for {days} days"


def _keys(count: int) -> str:
    return "1 key" if count == 1 else f"{count} keys"
