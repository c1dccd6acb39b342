"""`palimpsest approvals delegate`, `undelegate`, `delegations`: the right to decide, lent to somebody for a time."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

import rich_click as click
from rich.table import Column, Table

from gateway.cli.administration import minute, print_table, words
from gateway.cli.approvals import done_as, with_service
from gateway.cli.identity import office, reason_option, stdin_option
from gateway.people.names import Role

if TYPE_CHECKING:
    from audit.approvals import Delegation
    from gateway.approvals.approvals import Approvals

_LENDERS: Final = frozenset({Role.APPROVER})
_MOMENT: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"])

_tenant = click.option("--tenant", required=True, help="Whose answers.")
_by = click.option("--by", required=True, metavar="USER", help="Who lends; [bold]system/NAME[/] for one of tenant system.")


@click.command(
    "delegate",
    epilog="Examples:\n\n  palimpsest approvals delegate --tenant acme --by ada --to kay --until 2026-12-24 --reason leave\n\n"
    "  palimpsest approvals delegate --tenant acme --by ada --to grace --group leads --from 2026-12-01T08:00 "
    "--until 2026-12-01T18:00 --reason 'at a fair'",
)
@_tenant
@_by
@click.option("--to", required=True, metavar="USER", help="Who may decide: another user of the tenant.")
@click.option("--group", "groups", multiple=True, help="Only in this group; may be given several times. All if none is.")
@click.option("--from", "starts", type=_MOMENT, help="When it begins, in UTC; now if it is left out.")
@click.option("--until", "ends", type=_MOMENT, required=True, help="When it ends by itself, in UTC.")
@reason_option()
@stdin_option
def delegate(
    tenant: str, by: str, to: str, groups: tuple[str, ...], starts: datetime | None, ends: datetime, reason: str,
    password_stdin: bool,
) -> None:  # fmt: skip
    """Lend the right to decide for a time. You and whoever decides for you count as one person."""
    from gateway.approvals.choices import Delegate

    begins = datetime.now(UTC) if starts is None else starts.replace(tzinfo=UTC)
    lent = Delegate(to, begins, ends.replace(tzinfo=UTC), reason, groups)
    made = done_as(tenant, by, _LENDERS, password_stdin, lambda service, person: service.delegate(tenant, lent, person))
    click.echo(f"{made.delegation}: {made.to} decides for {made.requested_by}")


@click.command("undelegate", epilog="Example:\n\n  palimpsest approvals undelegate --tenant acme --by ada DELEGATION")
@click.argument("delegation", type=click.UUID)
@_tenant
@click.option("--by", required=True, metavar="USER", help="Whoever lent; [bold]system/NAME[/] for one of tenant system.")
@stdin_option
def undelegate(delegation: UUID, tenant: str, by: str, password_stdin: bool) -> None:
    """End a delegation of your own before its time. `palimpsest approvals delegations` shows its id."""
    every = frozenset(Role)  # also of somebody who is no approver any more
    ended = done_as(
        tenant, by, every, password_stdin, lambda service, person: service.end_delegation(tenant, delegation, person)
    )
    click.echo(f"{ended.delegation}: {ended.to} decides for {ended.requested_by} no more")


@click.command("delegations", epilog="Example:\n\n  palimpsest approvals delegations --tenant acme")
@_tenant
def delegations(tenant: str) -> None:
    """Who may decide for whom, the oldest first; those that are over are among them."""
    from gateway.approvals.lending import Term
    from gateway.projections.folding import moment

    async def read(service: Approvals) -> tuple[Delegation, ...]:
        return await service.delegations(tenant)

    with office() as here:
        here.require_tenant(tenant)
        found = with_service(here, tenant, read)
    table = Table(Column("delegation", no_wrap=True, overflow="fold"), "by", "to", "groups", "from", "until", "state", "reason")
    for each in found:
        times = (minute(moment(each.starts_at)), minute(moment(each.ends_at)))
        groups = words(", ".join(each.groups) or "all")
        names = (words(each.requested_by), words(each.to))
        table.add_row(str(each.delegation), *names, groups, *times, Term.of(each).value, words(each.reason))
    print_table(table)
