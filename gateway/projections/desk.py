"""How people share the queue: what comes first, who looks after it, and who is reading it at this moment.

None of it is from the log, and nothing depends on it: a lock keeps two people from the same work, never anybody from deciding.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, cast, func, or_, select, true
from sqlalchemy.dialects.postgresql import insert

from gateway.projections.tables import ApprovalRow, Desk

LOCK: Final = timedelta(minutes=10)
PRIORITY_MOST: Final = 100


class Desks:
    """The desks of all held answers. Every method is False where the tenant has no such answer. Blocking."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def prioritise(self, tenant: str, generation: UUID, priority: int) -> bool:
        """Put it before those of a lower priority, -100 to 100; 0 is that of all others."""
        return self._set(tenant, generation, {"priority": max(-PRIORITY_MOST, min(PRIORITY_MOST, priority))})

    def assign(self, tenant: str, generation: UUID, to: str | None) -> bool:
        """Somebody is to look after it, or nobody in particular."""
        return self._set(tenant, generation, {"assigned_to": to})

    def lock(self, tenant: str, generation: UUID, person: str, lasts: timedelta = LOCK) -> bool:
        """A person is reading it, from now on for so long; False as well while somebody else is."""
        free = or_(Desk.locked_by.is_(None), Desk.locked_by == person, Desk.locked_until <= func.now())
        return self._set(tenant, generation, {"locked_by": person, "locked_until": func.now() + lasts}, free)

    def unlock(self, tenant: str, generation: UUID, person: str) -> bool:
        """A person has stopped reading it; another's lock stays."""
        return self._set(tenant, generation, {"locked_by": None, "locked_until": None}, Desk.locked_by == person)

    def _set(self, tenant: str, generation: UUID, values: dict[str, Any], where: ColumnElement[bool] | None = None) -> bool:
        """In one statement, so that of two who come at once one is told no; for an answer of this tenant alone."""
        told = (cast(value, Desk.__table__.c[name].type) for name, value in values.items())
        here = (ApprovalRow.generation == generation) & (ApprovalRow.tenant == tenant)
        own = select(ApprovalRow.generation, *told).where(here)
        made = insert(Desk).from_select(["generation", *values], own)
        kept = made.on_conflict_do_update(index_elements=["generation"], set_=values, where=true() if where is None else where)
        with self._engine.begin() as connection:
            return connection.execute(kept.returning(Desk.generation)).first() is not None
