"""How many held answers wait in all queues together, for whoever watches the gateway; no names, no ids."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from gateway.approvals.case import State
from gateway.projections.queue import WAITING
from gateway.projections.tables import ApprovalRow


@dataclass(frozen=True, slots=True)
class Held:
    """Answers without a decision and those that were let go and not yet fetched."""

    pending: int
    approved: int
    oldest_seconds: float
    """Since the oldest without a decision was held; 0 where there is none."""


class HeldCount:
    """Blocking: call it in a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def count(self) -> Held:
        """What waits now. Raises SQLAlchemyError."""
        row = ApprovalRow
        age = func.extract("epoch", func.now() - func.min(row.opened_at))
        query = select(row.state, func.count(), age).where(row.state.in_(WAITING)).group_by(row.state)
        with self._engine.connect() as connection:
            found = {state: (count, float(seconds)) for state, count, seconds in connection.execute(query)}
        pending, oldest = found.get(State.PENDING, (0, 0.0))
        return Held(pending, found.get(State.APPROVED, (0, 0.0))[0], max(0.0, oldest))
