"""What requests add up to by day and mode: the share of one row, and the table of sums that a follower keeps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import BigInteger, ColumnElement, Connection, Date, case, cast, delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.dialects.postgresql.dml import Insert

from gateway.projections.folding import HELD, NOTHING, Stage, Told
from gateway.projections.tables import DayRow, GenerationRow

_MICROSECOND: Final = timedelta(microseconds=1)
_UNCOUNTED: Final = (Stage.REFUSED, Stage.ATTACHED, Stage.ERASED)
"""Requests that generated nothing, and those of which nothing is known any more."""
_KEY: Final = ("tenant", "day", "mode", "currency")


@dataclass(frozen=True, slots=True)
class Heap:
    """Which sums a request counts in."""

    tenant: str
    day: date
    mode: str
    currency: str


@dataclass(frozen=True, slots=True)
class Sums:
    """Figures of requests, added up."""

    generations: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    forwards: int = 0
    busy_us: int = 0
    microseconds: int = 0
    held: int = 0
    money: Decimal = NOTHING

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, name) + getattr(other, name) for name in FIGURES))

    def __neg__(self) -> Sums:
        return Sums(*(-getattr(self, name) for name in FIGURES))


FIGURES: Final = tuple(field.name for field in fields(Sums))


def share_of(row: Told) -> tuple[Heap, Sums] | None:
    """What one row adds, and where; None for a request that does not count."""
    if not row.mode or row.state in _UNCOUNTED:
        return None
    ran = 0 if row.closed_at is None else (row.closed_at - row.opened_at) // _MICROSECOND
    heap = Heap(row.tenant, row.opened_at.astimezone(UTC).date(), row.mode, row.currency)
    return heap, Sums(1, row.prompt_tokens, row.tokens, row.forwards, row.busy_us, ran, int(row.state in HELD), row.money)


def difference(before: Iterable[Told], after: Iterable[Told]) -> Mapping[Heap, Sums]:
    """What the sums change by when rows change from `before` to `after`."""
    found: defaultdict[Heap, Sums] = defaultdict(Sums)
    for rows, forwards in ((before, False), (after, True)):
        for heap, sums in filter(None, map(share_of, rows)):
            found[heap] += sums if forwards else -sums
    return {heap: sums for heap, sums in found.items() if sums != Sums()}


def add(connection: Connection, changes: Mapping[Heap, Sums]) -> None:
    """Add to the table of sums."""
    rows = [
        {name: getattr(heap, name) for name in _KEY} | {name: getattr(sums, name) for name in FIGURES}
        for heap, sums in changes.items()
    ]
    if rows:
        connection.execute(_added(insert(DayRow)), rows)


def take_away(connection: Connection, tenant: str, which: ColumnElement[bool]) -> None:
    """Take the rows of `which` out of the sums; a sum of nothing leaves the table."""
    columns = [getattr(GenerationRow, name) for name in ("tenant", "mode", "currency")]
    day = cast(func.timezone("UTC", GenerationRow.opened_at), Date).label("day")
    ran = cast(func.extract("epoch", GenerationRow.closed_at - GenerationRow.opened_at) * 1_000_000, BigInteger)
    held = case((GenerationRow.state.in_(HELD), 1), else_=0)
    counted = [getattr(GenerationRow, name) for name in ("prompt_tokens", "tokens", "forwards", "busy_us")]
    summed = [*counted, func.coalesce(ran, 0), held]
    counts = [literal(0) - func.count(), *(literal(0) - func.sum(each) for each in (*summed, GenerationRow.money))]
    gone = (
        select(columns[0], day, *columns[1:], *counts)
        .where(GenerationRow.mode != "", GenerationRow.state.not_in(_UNCOUNTED), which)
        .group_by(columns[0], day, *columns[1:])
    )
    connection.execute(_added(insert(DayRow).from_select([*_KEY, *FIGURES], gone)))
    connection.execute(delete(DayRow).where(DayRow.tenant == tenant, DayRow.generations == 0))


def _added(statement: Insert) -> Insert:
    summed = {name: getattr(DayRow, name) + statement.excluded[name] for name in FIGURES}
    return statement.on_conflict_do_update(index_elements=list(_KEY), set_=summed)
