"""Ends what nobody will end: requests that are open in the log although the process that served them is gone.

Two sources: at start, requests opened by an instance that no longer lives; and during life, this process's own requests that
could not be closed because the log was down. Each gets one request.abandoned record, its last. A request of a living
instance is never touched.

The commit that would open an orphan may be on its way still, so one that is not open is looked for until the log has been
well for long enough.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from audit.errors import AuditError
from audit.keys import KeyStore
from audit.records import RequestAbandoned, RequestOpen
from audit.rows import Unfinished
from audit.store import Reader, read_tenant
from audit.writer import Entry
from gateway.appending import Log
from gateway.presence import Presence
from gateway.recorded import bodies_of
from gateway.settings import DatabaseUrl

ACTOR: Final = "reconciler"
SETTLE_SECONDS: Final = 2.0
BEAT_SECONDS: Final = 1.0
_log = structlog.get_logger(__name__)


class Reconciler:
    """Runs beside the gateway: keeps its presence, sweeps once after the start, and ends orphans as they come."""

    def __init__(
        self,
        log: Log,
        reader_url: DatabaseUrl,
        keys: KeyStore,
        presence: Presence,
        instance: UUID,
        healthy: Callable[[], bool],
        doubt_seconds: float,
    ) -> None:
        """`healthy`: whether the log commits; a commit that it gave up on may land within `doubt_seconds` of that."""
        self._log = log
        self._healthy, self._doubt_seconds = healthy, doubt_seconds
        self._reader_url = reader_url
        self._keys = keys
        self._presence = presence
        self._instance = instance
        self._orphans: dict[str, dict[UUID, float]] = defaultdict(dict)
        """By tenant: since when each may be in the log or not, while that is well."""

    def orphan(self, tenant: str, request: UUID) -> None:
        """A request of this process may be open in the log and can no longer be closed by its own task."""
        self._orphans[tenant][request] = time.monotonic()

    async def run(self, tenants: Iterable[str]) -> None:
        """Sweep the given tenants, then serve orphans until cancelled. Failures are retried, never raised."""
        waiting = set(tenants)
        # A peer whose database connection has just broken takes up its lock within a beat; give it that time.
        await asyncio.sleep(SETTLE_SECONDS)
        while True:
            await self._attempt(self._round(waiting))
            await asyncio.sleep(BEAT_SECONDS)

    async def _round(self, waiting: set[str]) -> None:
        """Beat, then do what is due; a tenant that is swept leaves `waiting`, one that fails holds up no other."""
        if not await asyncio.to_thread(self._presence.beat):
            # The server may have been away: then the locks of living peers are lost for a moment too.
            await asyncio.sleep(SETTLE_SECONDS)
        for tenant in sorted(waiting):
            if await self._attempt(self._sweep(tenant)):
                waiting.discard(tenant)
        for tenant in [name for name, requests in self._orphans.items() if requests]:
            await self._attempt(self._end_orphans(tenant))

    async def _attempt(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether `work` was done; what failed is told and left to a later round."""
        try:
            await work
        except (AuditError, SQLAlchemyError) as error:
            _log.warning("reconcile.postponed", error=type(error).__name__)
        except Exception:  # noqa: BLE001 - one bad sweep must not end all later ones
            _log.exception("reconcile.failed")
        else:
            return True
        return False

    async def _sweep(self, tenant: str) -> None:
        """Abandon the unfinished requests of every dead instance."""
        for instance in await asyncio.to_thread(self._instances, tenant):
            async with self._presence.claim_dead(instance) as dead:
                if dead:
                    # Read again under the claim: another process may have ended them in between.
                    found = await asyncio.to_thread(self._opened_by, tenant, instance)
                    await self._abandon(tenant, found)

    async def _end_orphans(self, tenant: str) -> None:
        """Abandon this process's own requests that were left open; those that were surely never opened are forgotten."""
        orphans, began, well = self._orphans[tenant], time.monotonic(), self._healthy()
        taken = dict(orphans)
        open_now = {item.request: item for item in await asyncio.to_thread(self._unfinished, tenant)}
        await self._abandon(tenant, [item for request, item in open_now.items() if request in taken])
        for request, since in taken.items():
            if orphans[request] != since:
                continue  # it was told again meanwhile
            if request in open_now or (well and began - since >= self._doubt_seconds):
                del orphans[request]
            elif not well:
                orphans[request] = began

    async def _abandon(self, tenant: str, requests: Iterable[Unfinished]) -> None:
        for item in requests:
            body = RequestAbandoned(found_by=self._instance, last_seq=item.last_seq)
            await self._log.append([Entry(tenant, item.request, ACTOR, None, body)])
            _log.info("request.abandoned", tenant=tenant, request=str(item.request), last_seq=item.last_seq)

    def _unfinished(self, tenant: str) -> list[Unfinished]:
        with read_tenant(self._reader_url, tenant) as reader:
            return reader.unfinished()

    def _instances(self, tenant: str) -> set[UUID]:
        with read_tenant(self._reader_url, tenant) as reader:
            found = {self._opener(reader, item.request) for item in reader.unfinished()}
        return {instance for instance in found if instance is not None}

    def _opened_by(self, tenant: str, instance: UUID) -> list[Unfinished]:
        with read_tenant(self._reader_url, tenant) as reader:
            items = reader.unfinished()
            return [item for item in items if self._opener(reader, item.request) == instance]

    def _opener(self, reader: Reader, request: UUID) -> UUID | None:
        """The instance in the opening record, None if that record can no longer be read."""
        opening = (body for body in bodies_of(reader, self._keys, request) if isinstance(body, RequestOpen))
        return next((body.instance for body in opening), None)
