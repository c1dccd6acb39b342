"""A candidate policy over recorded traffic: what it would have decided, beside what the policy in force decided.

Pure functions over rows. The policy in force must reproduce every recorded decision exactly; where it does not, the report says
which, and its figures are worth nothing until that is explained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from policies.policy import Policy
from policies.rejudge import Judgement, Outcome, differences, rejudge
from policies.report import Effects, days_of, effects, review_seconds_of
from policies.rows import Row


@dataclass(frozen=True, slots=True)
class Unreproduced:
    """A recorded row that the policy in force does not reproduce, and what of it."""

    row: str
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A row that the candidate decides otherwise; `estimated` if nobody can know how it would have gone on."""

    row: str
    old: Outcome
    new: Outcome
    estimated: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Both policies over the same rows."""

    rows: int
    days: int
    review_seconds: float
    unreproduced: tuple[Unreproduced, ...]
    old: Effects
    new: Effects
    changed: tuple[Change, ...]

    @property
    def reproduced(self) -> bool:
        """Whether the policy in force says of every row what is on record."""
        return not self.unreproduced


def replay(old: Policy, new: Policy, rows: Sequence[Row]) -> Report:
    """Judge `rows`, recorded under `old`, again under `old` and under `new`."""
    before = [rejudge(old, row) for row in rows]
    after = [rejudge(new, row, was.verdict) for row, was in zip(rows, before, strict=True)]
    days, seconds = days_of(rows), review_seconds_of(rows)
    failed = [(row.id, differences(row, was)) for row, was in zip(rows, before, strict=True)]
    return Report(
        rows=len(rows),
        days=days,
        review_seconds=seconds,
        unreproduced=tuple(Unreproduced(name, tuple(found)) for name, found in failed if found),
        old=effects(list(zip(rows, before, strict=True)), old.document.prices, days, seconds),
        new=effects(list(zip(rows, after, strict=True)), new.document.prices, days, seconds),
        changed=tuple(_changes(rows, before, after)),
    )


def _changes(rows: Sequence[Row], before: Sequence[Judgement], after: Sequence[Judgement]) -> list[Change]:
    return [
        Change(row.id, was.outcome, now.outcome, now.estimated)
        for row, was, now in zip(rows, before, after, strict=True)
        if was.outcome is not now.outcome or _rulings(was) != _rulings(now)
    ]


def _rulings(judgement: Judgement) -> list[str]:
    return [ruling.verdict.value for _, ruling in judgement.units]
