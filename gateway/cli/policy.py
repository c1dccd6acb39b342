"""`palimpsest policy`: check a document, put it in force by two people, show what is in force, go back."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

from gateway.cli.identity import Office, Typed, office, reason_option, stdin_option
from gateway.cli.json_file import json_to, require_folder
from gateway.cli.number import Number
from gateway.json_file import write_json
from gateway.people.duties import LAW
from gateway.review.marks import on_a_line

if TYPE_CHECKING:
    from audit.laws import Laws
    from audit.lifecycle import Warrant
    from gateway.law.enactment import Enactment, InEffect
    from policies import Policy, World

tenant_option: Final = click.option("--tenant", required=True, help="Whose policy.")
_requested = click.option(
    "--requested-by", "--by", "by", required=True, metavar="USER", help="Who asks for it: a policy admin, who proves it."
)
_approved = click.option(
    "--approved-by", required=True, metavar="USER", help="Who agrees: another policy admin, or an auditor, who proves it."
)
_reason = reason_option()


@click.group(
    epilog="Examples:\n\n  palimpsest policy check acme.toml --tenant acme\n\n"
    "  palimpsest policy apply acme.toml --tenant acme --requested-by ada --approved-by grace --reason 'review of November'\n\n"
    "  palimpsest policy explain --tenant acme 019a1f2e-7c3b-7d10-8a44-3f5b2c1d0e9f"
)
def policy() -> None:
    """The law: closed TOML documents, put in force by two people; why it decided so, and what another would have decided."""


@policy.command("check", epilog="Examples:\n\n  palimpsest policy check acme.toml --tenant acme\n\n  palimpsest policy check")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--tenant", help="Hold names of models and groups against this installation and the users of this tenant.")
def check(file: Path | None, tenant: str | None) -> None:
    """Check FILE (default: the shipped baseline) and print its digest; exit 1 with every fault if it cannot be used.

    Without --tenant groups are not known, and models only where PALIMPSEST_CHECKPOINT names one; what was not checked is said.
    """
    import policies

    world = _world_of(tenant)
    found = accepted(file or policies.BASELINE, world)
    modes = ", ".join(mode.value for mode in found.document.modes.allowed)
    click.echo(f"{found.name}: good\n  digest {bytes(found.digest).hex()}\n  modes  {modes}")
    unknown = [kind for kind in ("models", "groups") if getattr(world, kind) is None]
    if unknown:
        click.echo(f"  names of {' and '.join(unknown)} were not checked: give --tenant")


@policy.command(
    "apply",
    epilog="Examples:\n\n  palimpsest policy apply acme.toml --tenant acme --requested-by ada --approved-by grace "
    "--reason 'review of November'\n\n  palimpsest policy apply acme.toml --tenant acme --canary 0.1 --by ada "
    "--approved-by grace --reason 'try stricter gates'",
)
@click.argument("file", type=click.Path(path_type=Path))
@tenant_option
@click.option("--canary", "share", type=Number(0, 1, min_open=True, max_open=True), metavar="SHARE",
              help="Judge only this share of requests by it, the others as before.")  # fmt: skip
@_reason
@_requested
@_approved
@stdin_option
def apply(file: Path, tenant: str, share: float | None, reason: str, by: str, approved_by: str, password_stdin: bool) -> None:
    """Put FILE in force for a tenant: checked, recorded, then followed by every gateway within seconds."""
    with office() as here:
        here.require_tenant(tenant)
        found = accepted(file, _world(here, tenant))
        warrant = _warrant(here, tenant, reason, by, approved_by, Typed(password_stdin))
        _tell(_act(here, tenant, lambda enactment: enactment.apply(tenant, found, warrant, share)))


@policy.command(
    "rollback",
    epilog="Example:\n\n  palimpsest policy rollback --tenant acme --requested-by ada --approved-by grace "
    "--reason 'too strict'",
)
@tenant_option
@click.option("--to", default="", metavar="DIGEST", help="The policy to go back to, by the first digits of its digest.")
@_reason
@_requested
@_approved
@stdin_option
def rollback(tenant: str, to: str, reason: str, by: str, approved_by: str, password_stdin: bool) -> None:
    """End a trial; without one, go back to the policy before, or to the one named by --to."""
    with office() as here:
        here.require_tenant(tenant)
        now = here.standing(tenant).laws.in_force
        warrant = _warrant(here, tenant, reason, by, approved_by, Typed(password_stdin))
        since = None if now is None else now.seq
        _tell(_act(here, tenant, lambda enactment: enactment.rollback(tenant, warrant, to, since)))


@policy.command("show", epilog="Example:\n\n  palimpsest policy show --tenant acme --json in-force.json")
@tenant_option
@json_to("Write the policy's whole text, its digest and its place in the log to this file.")
def show(tenant: str, json_file: Path | None) -> None:
    """Which policy is in force, which one is tried beside it, and since which record; its text with --json."""
    import json

    import policies

    require_folder(json_file)
    with office() as here:
        here.require_tenant(tenant)
        laws = laws_of(here, tenant)
    now, active = laws.in_force, active_policy(tenant, laws)
    shown: dict[str, Any] = {
        "tenant": tenant,
        "digest": bytes(active.digest).hex(),
        "seq": None if now is None else now.seq,
        "candidate": None if now is None or now.candidate is None else now.candidate.hex(),
        "share": None if now is None else now.share,
    }
    click.echo(f"{shown['digest']}  " + ("comes with this release" if now is None else f"in force by record {now.seq}"))
    if shown["candidate"]:
        click.echo(f"{shown['candidate']}  tried on {shown['share']:.0%} of requests")
    write_json(json_file, shown | {"document": json.loads(policies.written(active))})


@policy.command("history", epilog="Example:\n\n  palimpsest policy history --tenant acme")
@tenant_option
def history(tenant: str) -> None:
    """Every change of policy, oldest first: record, digest, share, who, why."""
    with office() as here:
        here.require_tenant(tenant)
        changes = laws_of(here, tenant).changes
    for each in changes:
        change = each.change
        share = "all requests" if change.share is None else f"{change.share:.0%} of requests"
        click.echo(
            f"record {each.seq}: {change.after.hex()[:16]} for {share}, "
            f"asked by {change.requested_by}, agreed by {change.approved_by}: {on_a_line(change.reason)}"
        )
    if not changes:
        click.echo("no change is on record: the policy that comes with this release is in force")


def accepted(file: Path, world: World) -> Policy:
    """The policy of a file, or exit 1 with all that is wrong with it on standard error, a line each."""
    import policies

    found = policies.check(file, world)
    if isinstance(found, policies.Policy):
        return found
    for finding in found:
        click.echo(str(finding), err=True)
    sys.exit(1)


def laws_of(here: Office, tenant: str) -> Laws:
    """The policy changes on record."""
    return here.standing(tenant).laws


def active_policy(tenant: str, laws: Laws) -> Policy:
    """The policy in force by the log; the shipped one where no record names another."""
    import policies
    from gateway.law.known import in_force

    return in_force(tenant, laws, policies.load(policies.BASELINE))


def _world(here: Office, tenant: str) -> World:
    """The names that exist: groups are those that users of the tenant, or of `system`, are in."""
    from audit.writer import SYSTEM
    from gateway.law.world import world_of

    return world_of(here.settings.model, (*here.directory.users(tenant), *here.directory.users(SYSTEM)))


def _world_of(tenant: str | None) -> World:
    """The same, or what is known of it without asking a database."""
    import policies
    from gateway.law.clock import timezones
    from gateway.settings import Settings

    if tenant is not None:
        with office() as here:
            here.require_tenant(tenant)
            return _world(here, tenant)
    named = "PALIMPSEST_CHECKPOINT" in os.environ
    return policies.World(models=frozenset({Settings.read(os.environ).model}) if named else None, timezones=timezones())


def _warrant(here: Office, tenant: str, reason: str, by: str, approved_by: str, typed: Typed) -> Warrant:
    from gateway.people.two import Asked

    return here.warrant(tenant, reason, (Asked(by, LAW.asks), Asked(approved_by, LAW.agrees)), typed)


def _act(here: Office, tenant: str, act: Callable[[Enactment], Awaitable[InEffect]]) -> InEffect:
    """Make one change on the logs of this installation, beside a gateway that may be running."""
    from contextlib import closing

    import policies
    from gateway.law.enactment import Enactment
    from gateway.law.shelf import Shelf

    async def run() -> InEffect:
        with closing(Shelf(here.urls.app)) as shelf:
            async with here.lifecycle(tenant) as lifecycle:
                return await act(Enactment(lifecycle, shelf, policies.load(policies.BASELINE)))

    try:
        return asyncio.run(run())
    except policies.PolicyError as error:
        click.echo(str(error), err=True)
        sys.exit(1)


def _tell(done: InEffect) -> None:
    now = done.now
    tried = "" if now.candidate is None else f", {now.candidate.hex()[:16]} is tried on {now.share:.0%} of requests"
    click.echo(f"record {done.seq}: policy {now.digest.hex()[:16]} is in force{tried}")
