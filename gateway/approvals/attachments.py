"""The table `app.attachment`: which generation answers a request that is asked again. Shared by all processes; never evidence.

A row counts until its moment, and beyond it as long as people decide about its generation: a later cycle may outlast the
first one, by which that moment was chosen. Every method opens its own short transaction. Blocking: call it in a thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, create_engine, delete, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gateway.pools import close_pool
from gateway.projections.tables import Attachment
from gateway.settings import DatabaseUrl, sqlalchemy_url

LONGEST: Final = timedelta(hours=1)
"""How long a claim counts of a generation that nobody hears of again."""
# As text, for in the condition of an upsert SQLAlchemy names the tables of a subquery without their schema.
_DECIDED: Final = text(
    "NOT EXISTS (SELECT FROM app.approval"
    " WHERE approval.generation = attachment.generation AND approval.state IN ('pending', 'approved'))"
)
_OVER: Final = and_(Attachment.until <= func.now(), _DECIDED)


@dataclass(frozen=True, slots=True)
class Holder:
    """The generation that answers, and the process that began it."""

    generation: UUID
    instance: UUID


class Attachments:
    """The rows, for one process."""

    def __init__(self, url: DatabaseUrl, instance: UUID) -> None:
        self._engine = create_engine(sqlalchemy_url(url), pool_size=2, pool_pre_ping=True, connect_args={"connect_timeout": 3})
        self._instance = instance

    def claim(self, tenant: str, keys: Iterable[bytes], generation: UUID) -> Holder:
        """Who answers requests with these keys from now on: `generation`, unless one of them is another's already.

        `keys` in ascending order, so that no two processes wait for each other. Raises SQLAlchemyError.
        """
        while True:
            with Session(self._engine) as session:
                taken = next((key for key in keys if not self._take(session, tenant, key, generation)), None)
                if taken is None:
                    session.commit()
                    return Holder(generation, self._instance)
                session.rollback()
                found = session.get(Attachment, (tenant, taken))
                if found is not None:
                    return Holder(found.generation, found.instance)

    def find(self, tenant: str, keys: Iterable[bytes]) -> Holder | None:
        """Who answers requests with one of these keys, if anybody does. Raises SQLAlchemyError."""
        query = select(Attachment).where(Attachment.tenant == tenant, Attachment.key.in_(list(keys)), ~_OVER).limit(1)
        with Session(self._engine) as session:
            found = session.scalar(query)
        return None if found is None else Holder(found.generation, found.instance)

    def keep(self, tenant: str, generation: UUID, until: int) -> None:
        """The generation's rows count until this moment, in microseconds since 1970. Raises SQLAlchemyError."""
        self._change(tenant, generation, func.to_timestamp(literal(until) / 1_000_000))

    def leave(self, tenant: str, generation: UUID, within: timedelta) -> None:
        """They count for no longer than `within` from now on. Raises SQLAlchemyError."""
        self._change(tenant, generation, func.least(Attachment.until, func.now() + within))

    def forget(self, tenant: str, generation: UUID) -> None:
        """The generation answers nobody else; rows of others whose moment is over go as well. Raises SQLAlchemyError."""
        own = (Attachment.tenant == tenant) & (Attachment.generation == generation)
        with Session(self._engine) as session:
            session.execute(delete(Attachment).where(own | _OVER))
            session.commit()

    def close(self) -> None:
        """Let the connections go."""
        close_pool(self._engine)

    def _take(self, session: Session, tenant: str, key: bytes, generation: UUID) -> bool:
        """Whether the key is ours now: it was free, its moment is over, or it was ours before."""
        fresh = {"generation": generation, "instance": self._instance, "until": func.now() + LONGEST}
        free = _OVER | (Attachment.generation == generation)
        put = insert(Attachment).values(tenant=tenant, key=key, **fresh)
        ours = put.on_conflict_do_update(index_elements=["tenant", "key"], set_=fresh, where=free)
        return session.scalar(ours.returning(Attachment.generation)) is not None

    def _change(self, tenant: str, generation: UUID, until: ColumnElement[object]) -> None:
        own = (Attachment.tenant == tenant) & (Attachment.generation == generation)
        with Session(self._engine) as session:
            session.execute(update(Attachment).where(own).values(until=until))
            session.commit()
