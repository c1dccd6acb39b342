"""How far each person has read a request, by the accesses on record."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Engine, func, select

from gateway.projections.tables import LookRow


class Looks:
    """Looks at the requests of one tenant at a time. Blocking: call it in a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def newest_before(self, tenant: str, generation: UUID, person: str, seq: int) -> int | None:
        """Up to which record a person had read when they last looked at what was there before record `seq`; None for never."""
        row = LookRow
        query = select(func.max(row.last_seq)).where(
            row.generation == generation, row.person == person, row.last_seq < seq, row.tenant == tenant
        )
        with self._engine.connect() as connection:
            return connection.scalar(query)
