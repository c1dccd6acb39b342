"""The approval queue: who waits, the most urgent first, and how people share the work. Nothing here decides anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, Row, Select, case, func, select, tuple_

from gateway.approvals.case import State
from gateway.projections.paging import FIRST, Found, Page, Place
from gateway.projections.tables import ApprovalRow, Desk, GenerationRow

WAITING: Final = (State.PENDING, State.APPROVED)
CHANGES_MOST: Final = 500


class Share(StrEnum):
    """Which part of the queue, as far as people share it."""

    ANYBODY = "anybody"
    MINE = "mine"
    UNASSIGNED = "unassigned"


class Order(StrEnum):
    """What comes first."""

    URGENT = "urgent"
    """The highest priority, and of one priority what ends soonest."""
    SOONEST = "soonest"
    """What ends soonest, whatever its priority."""
    LATEST = "latest"
    OLDEST = "oldest"
    """What has waited longest."""
    NEWEST = "newest"

    @property
    def descending(self) -> bool:
        """Whether what is later comes first."""
        return self in (Order.LATEST, Order.NEWEST)

    @property
    def moment(self) -> str:
        """The column whose time it goes by."""
        return "opened_at" if self in (Order.OLDEST, Order.NEWEST) else "expires_at"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a held answer must be like; None asks for nothing. `me` is whose share is meant, `group` one that must decide.

    Without an order those that wait come by their urgency, and what is over by when it was held, the newest first.
    """

    states: tuple[State, ...] = WAITING
    share: Share = Share.ANYBODY
    me: str = ""
    workflow: str | None = None
    mode: str | None = None
    risk: str | None = None
    requester: str | None = None
    group: str | None = None
    expires_before: datetime | None = None
    order: Order | None = None

    @property
    def ordered(self) -> Order:
        """The order that is meant."""
        over = not any(state in WAITING for state in self.states)
        return self.order or (Order.NEWEST if over else Order.URGENT)


EVERYTHING: Final = Wanted()


@dataclass(frozen=True, slots=True)
class Waiting:
    """One held answer in the queue. A lock that has run out is None."""

    generation: UUID
    tenant: str
    cycle: int
    state: State
    opened_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    requester: str
    contributors: tuple[str, ...]
    workflow: str
    mode: str
    risk: str
    model: str
    tokens: int
    needed: tuple[Mapping[str, Any], ...]
    """As `audit.approvals.Needed`, by field."""
    decided_by: tuple[str, ...]
    broke_glass: bool
    policy_digest: bytes
    last_seq: int
    priority: int
    assigned_to: str | None
    locked_by: str | None
    locked_until: datetime | None


@dataclass(frozen=True, slots=True)
class Changed:
    """A held answer after a change, and the record that made it."""

    generation: UUID
    state: State
    cycle: int
    seq: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How many wait in a tenant's queue."""

    pending: int
    approved: int
    mine: int
    unassigned: int
    soon: int


_PRIORITY: Final = func.coalesce(Desk.priority, 0)
_LOCKED: Final = Desk.locked_until > func.now()
_TOLD: Final = tuple(
    getattr(ApprovalRow, name)
    for name in (
        "generation", "tenant", "cycle", "state", "opened_at", "expires_at", "ended_at", "requester", "contributors",
        "workflow", "mode", "risk", "needed", "decided_by", "broke_glass", "policy_digest", "last_seq",
    )
)  # fmt: skip
_SHARED: Final = (
    select(
        *_TOLD, _PRIORITY.label("priority"), Desk.assigned_to, case((_LOCKED, Desk.locked_by)).label("locked_by"),
        case((_LOCKED, Desk.locked_until)).label("locked_until"),
    )
    .outerjoin(Desk, Desk.generation == ApprovalRow.generation)
)  # fmt: skip
Lines = Select[*tuple[Any, ...]]


class Queue:
    """Held answers of one tenant at a time. Blocking: call it in a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def waiting(self, tenant: str, wanted: Wanted = EVERYTHING, page: Page = FIRST) -> Found[Waiting]:
        """One page, in the order that is wanted. Raises SQLAlchemyError when the database cannot be reached."""
        query, order = _SHARED.where(ApprovalRow.tenant == tenant, *_conditions(wanted)), wanted.ordered
        keys = _keys(ApprovalRow, _PRIORITY, order)
        if page.after is not None:
            query = query.where(_behind(keys, page.after, order))
        found = self._read(query.order_by(*_sorted(keys, order)).limit(page.rows + 1), order)
        rows = [_line(each) for each in found[: page.rows]]
        last = rows[-1] if len(found) > page.rows else None
        return Found(rows, None if last is None else _place(last, order))

    def find(self, tenant: str, generation: UUID) -> Waiting | None:
        """One held answer, waiting or not; None if the tenant has no such one."""
        found = self._read(_SHARED.where(ApprovalRow.generation == generation, ApprovalRow.tenant == tenant), Order.URGENT)
        return _line(found[0]) if found else None

    def counts(self, tenant: str, me: str, soon: datetime) -> Counts:
        """How many wait, are assigned to `me`, to nobody, and expire before `soon`."""
        undecided = ApprovalRow.state == State.PENDING
        parts = (
            undecided, ApprovalRow.state == State.APPROVED, Desk.assigned_to == me, Desk.assigned_to.is_(None),
            undecided & (ApprovalRow.expires_at < soon),
        )  # fmt: skip
        counted = select(*(func.count().filter(part) for part in parts)).select_from(ApprovalRow)
        query = counted.outerjoin(Desk, Desk.generation == ApprovalRow.generation).where(
            ApprovalRow.tenant == tenant, ApprovalRow.state.in_(WAITING)
        )
        with self._engine.connect() as connection:
            pending, approved, mine, unassigned, expiring = tuple(connection.execute(query).one())
        return Counts(pending, approved, mine, unassigned, expiring)

    def changed(self, tenant: str, since_seq: int, most: int = CHANGES_MOST) -> list[Changed]:
        """What changed after the record `since_seq`, in the order of the log; of several changes of one answer the last."""
        row = ApprovalRow
        query = (
            select(row.generation, row.state, row.cycle, row.last_seq)
            .where(row.tenant == tenant, row.last_seq > since_seq)
            .order_by(row.last_seq)
            .limit(most)
        )
        with self._engine.connect() as connection:
            return [Changed(each[0], State(each[1]), each[2], each[3]) for each in connection.execute(query)]

    def newest(self, tenant: str) -> int:
        """The seq of the newest change, -1 before the first: where a feed begins."""
        query = select(func.max(ApprovalRow.last_seq)).where(ApprovalRow.tenant == tenant)
        with self._engine.connect() as connection:
            found = connection.scalar(query)
        return -1 if found is None else found

    def _read(self, query: Lines, order: Order) -> Sequence[Row[*tuple[Any, ...]]]:
        """The chosen answers, in their order, each with what its generation tells; only of those that one is looked up."""
        part = query.subquery()
        told = select(part, GenerationRow.model, GenerationRow.tokens).join(
            GenerationRow, GenerationRow.id == part.c.generation
        )
        with self._engine.connect() as connection:
            return connection.execute(told.order_by(*_sorted(_keys(part.c, part.c.priority, order), order))).all()


def _keys(columns: Any, priority: ColumnElement[int], order: Order) -> tuple[ColumnElement[Any], ...]:
    """What rows are sorted by, all of it in one direction, so that a place is behind another by one comparison."""
    by_time = (getattr(columns, order.moment), columns.generation)
    return (-priority, *by_time) if order is Order.URGENT else by_time


def _sorted(keys: Sequence[ColumnElement[Any]], order: Order) -> Sequence[ColumnElement[Any]]:
    return [key.desc() for key in keys] if order.descending else keys


def _behind(keys: Sequence[ColumnElement[Any]], place: Place, order: Order) -> ColumnElement[bool]:
    at = (-place.rank, place.at, place.id)[-len(keys) :]
    return tuple_(*keys) < tuple_(*at) if order.descending else tuple_(*keys) > tuple_(*at)


def _place(row: Waiting, order: Order) -> Place:
    return Place(getattr(row, order.moment), row.generation, row.priority if order is Order.URGENT else 0)


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    row = ApprovalRow
    found: list[ColumnElement[bool]] = [row.state.in_(wanted.states)]
    same = ((row.workflow, wanted.workflow), (row.mode, wanted.mode), (row.risk, wanted.risk),
            (row.requester, wanted.requester))  # fmt: skip
    found += [column == value for column, value in same if value is not None]
    if wanted.share is not Share.ANYBODY:
        found.append(Desk.assigned_to == wanted.me if wanted.share is Share.MINE else Desk.assigned_to.is_(None))
    if wanted.group is not None:
        found.append(row.needed.contains([{"groups": [wanted.group]}]))
    if wanted.expires_before is not None:
        found.append(row.expires_at < wanted.expires_before)
    return found


def _line(row: Row[*tuple[Any, ...]]) -> Waiting:
    told = row._asdict()
    lists = {name: tuple(told[name]) for name in ("contributors", "needed", "decided_by")}
    return Waiting(**{**told, **lists, "state": State(told["state"])})
