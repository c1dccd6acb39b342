"""Who waits: the queue as lines with clocks, made of figures and states alone, so looking at it reads no content."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from gateway.approvals.case import State
from gateway.errors import BadRequest
from gateway.house import House
from gateway.projections.paging import Page, Place
from gateway.projections.queue import WAITING, Counts, Order, Share, Waiting, Wanted
from gateway.review.marks import on_a_line
from gateway.ui.reviewing.clocks import Clock, clock
from gateway.ui.visitor import Visitor

SIDE_ROWS: Final = 20
PAGE_ROWS: Final = 50
SOON: Final = timedelta(minutes=15)
_LONGEST: Final = 200
FILTERS: Final = ("state", "share", "workflow", "mode", "risk", "requester", "group")
ORDERS: Final[Mapping[tuple[str, str], Order]] = {
    ("held", ""): Order.NEWEST, ("held", "up"): Order.OLDEST, ("left", ""): Order.LATEST, ("left", "up"): Order.SOONEST,
}  # fmt: skip
"""By the parameters of an address, as `ui.sort` writes them: a column, and `up` for the least first."""


@dataclass(frozen=True, slots=True)
class Line:
    """One held answer in the queue, and its clock."""

    row: Waiting
    clock: Clock

    @property
    def signed(self) -> str:
        """How many have decided, of how many: for each approval where there are several, since one signature may meet more."""
        have, needed = len(self.row.decided_by), self.row.needed
        if len(needed) == 1:
            return f"{have} of {needed[0]['quorum']}"
        return f"{have}; " + ", ".join(f"{each['quorum']} for {on_a_line(each['approval'])}" for each in needed)

    @property
    def title(self) -> str:
        """What it is for, as the client says; else what it is. Never empty, and on one line."""
        row = self.row
        return on_a_line(row.workflow).strip() or f"{row.mode.replace('_', ' ')} answer, {row.tokens} tokens"


@dataclass(frozen=True, slots=True)
class Listed:
    """A part of the queue: its lines, what comes after, and what waits in all."""

    lines: tuple[Line, ...]
    next: str
    counts: Counts


async def listed(house: House, visitor: Visitor, query: Mapping[str, str], rows: int) -> Listed:
    """The part of the queue that an address asks for. Raises BadRequest for an address that asks for nothing known."""
    wanted, after = wanted_of(query, visitor), query.get("after", "")
    page = Page(rows, Place.read(after) if after else None)
    return await asyncio.to_thread(_listed, house, visitor, wanted, page)


def wanted_of(query: Mapping[str, str], visitor: Visitor) -> Wanted:
    """The filters of an address."""
    given = {name: query.get(name, "").strip()[:_LONGEST] or None for name in FILTERS}
    try:
        states = WAITING if given["state"] is None else (State(given["state"]),)
        share = Share.ANYBODY if given["share"] is None else Share(given["share"])
        order = ORDERS[query["sort"], query.get("order", "")] if query.get("sort") else None
    except (ValueError, KeyError) as error:
        raise BadRequest("This address asks for a state, a share or an order that there is none of.") from error
    return Wanted(
        states=states, share=share, me=visitor.person.on_record, workflow=given["workflow"], mode=given["mode"],
        risk=given["risk"], requester=given["requester"], group=given["group"], order=order,
    )  # fmt: skip


def _listed(house: House, visitor: Visitor, wanted: Wanted, page: Page) -> Listed:
    now = datetime.now(UTC)
    found = house.views.queue.waiting(visitor.tenant, wanted, page)
    counts = house.views.queue.counts(visitor.tenant, visitor.person.on_record, now + SOON)
    return Listed(tuple(line(row, now) for row in found.rows), "" if found.next is None else str(found.next), counts)


async def found(house: House, visitor: Visitor, generation: UUID) -> Line | None:
    """One held answer of the tenant in view; None before the projections have it."""
    row = await asyncio.to_thread(house.views.queue.find, visitor.tenant, generation)
    return None if row is None else line(row, datetime.now(UTC))


def line(row: Waiting, now: datetime) -> Line:
    """A row with its clock."""
    return Line(row, clock(row.opened_at, row.expires_at, now))
