"""Who may decide for whom, by the records of one log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from audit.acts import identity
from audit.approvals import Delegation

GRACE: Final = 60_000_000
"""Microseconds that a commit may take after the clock was asked: by so much may a decision in time be recorded late."""


@dataclass(slots=True)
class Delegations:
    """Delegations of one tenant, folded in order of seq. `unread` counts those that are not disclosed here."""

    known: dict[UUID, Delegation] = field(default_factory=dict)
    unread: int = 0

    def add(self, body: Delegation | None) -> None:
        """Take in the next one; the same id again replaces it, which is how one ends early."""
        if body is None:
            self.unread += 1
        else:
            self.known[body.delegation] = body

    def holding(self, by: str, to: str, ts: int) -> tuple[Delegation, ...]:
        """All delegations under which `to` may decide for `by` at a time in microseconds: what they lend adds up."""
        return tuple(each for each in self.known.values() if _holds(each, by, to, ts))

    def find(self, by: str, to: str, ts: int) -> Delegation | None:
        """One of them, if there is any."""
        return next(iter(self.holding(by, to, ts)), None)


def _holds(each: Delegation, by: str, to: str, ts: int) -> bool:
    same = (identity(each.requested_by), identity(each.to)) == (identity(by), identity(to))
    return same and not each.revoked and each.starts_at <= ts < each.ends_at
