"""Ends what nobody decided in time. Every process looks; the answer's turn lets one of them record the end.

The projection says where to look and nothing more: whether an approval is over is read from its records, in its turn. So an
answer that the projection forgets is not let go by that: a release looks at the clock itself.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import create_engine, func, select, tuple_
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from audit.errors import AuditError
from gateway.approvals.desk import Desk
from gateway.errors import GatewayError
from gateway.pools import close_pool
from gateway.projections.tables import ApprovalRow
from gateway.settings import DatabaseUrl, sqlalchemy_url

PAUSE_SECONDS: Final = 1.0
AT_ONCE: Final = 100
REST_SECONDS: Final = 30.0
"""For so long an answer that could not be ended is left alone, so that the others get their turn."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """An answer whose time is over, by the projection."""

    tenant: str
    generation: UUID
    expires_at: datetime


class Expiry:
    """A task of the house."""

    def __init__(self, desk: Desk, app_url: DatabaseUrl) -> None:
        self._desk = desk
        self._tried: dict[tuple[UUID, datetime], float] = {}
        """What was due and could be due again, and until when it rests; a later cycle ends at another time."""
        self._engine = create_engine(
            sqlalchemy_url(app_url), pool_size=1, pool_pre_ping=True, connect_args={"connect_timeout": 3}
        )

    async def run(self) -> None:
        """Look again and again until cancelled. Failures are retried, never raised."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                due = await asyncio.to_thread(self._due)
            except SQLAlchemyError as error:
                _log.warning("approvals.unswept", error=type(error).__name__)
                continue
            for each in due:
                await self._end(each.tenant, each.generation)

    async def _end(self, tenant: str, generation: UUID) -> None:
        """Taking the answer's turn ends it, if it is over; one that cannot be read holds up no other."""
        try:
            async with self._desk.taken(tenant, generation):
                pass
        except (GatewayError, AuditError) as error:
            _log.warning("approvals.unended", tenant=tenant, generation=str(generation), error=type(error).__name__)
        except Exception:  # noqa: BLE001 - one bad case must not end the watch over all others
            _log.exception("approvals.ending_failed", tenant=tenant, generation=str(generation))

    def _due(self) -> list[Due]:
        """The oldest that are over and do not rest; they rest from here on."""
        moment = time.monotonic()
        self._tried = {each: until for each, until in self._tried.items() if until > moment}
        over = ApprovalRow.state.in_(("pending", "approved")) & (ApprovalRow.expires_at <= func.now())
        if self._tried:
            over &= tuple_(ApprovalRow.generation, ApprovalRow.expires_at).not_in(list(self._tried))
        query = select(ApprovalRow.tenant, ApprovalRow.generation, ApprovalRow.expires_at).where(over)
        with Session(self._engine) as session:
            found = [Due(*row) for row in session.execute(query.order_by(ApprovalRow.expires_at).limit(AT_ONCE))]
        self._tried |= {(each.generation, each.expires_at): moment + REST_SECONDS for each in found}
        return found

    def close(self) -> None:
        """Close all connections."""
        close_pool(self._engine)
