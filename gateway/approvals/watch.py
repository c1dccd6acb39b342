"""Waits for people: for an approval that is granted or over, in whichever process that was recorded.

What this process records wakes whoever waits for it at once. What others record is found by one look a tenant and half-second
at the newest records of all the answers that somebody here waits for.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final
from uuid import UUID

import structlog

from audit.errors import AuditError
from gateway.approvals.case import Case, State
from gateway.approvals.files import Files
from gateway.errors import NotHere

POLL_SECONDS: Final = 0.5
_log = structlog.get_logger(__name__)


class Watch:
    """Belongs to one event loop."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._waiting: defaultdict[str, Counter[UUID]] = defaultdict(Counter)
        self._bells: dict[UUID, asyncio.Event] = {}
        self._seen: dict[UUID, int] = {}

    async def settled(self, tenant: str, generation: UUID, patience_seconds: float) -> Case:
        """The case as soon as nobody has to decide any more, or as it is when patience ends. Raises NotHere for none."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + patience_seconds
        with self._listening(tenant, generation):
            while True:
                bell = self._bells.setdefault(generation, asyncio.Event())  # before the look, so that nothing is missed
                case = await asyncio.to_thread(self._files.case, tenant, generation)
                if case is None:
                    raise NotHere("there is no such approval")
                if case.state is not State.PENDING or clock() >= deadline:
                    return case
                self._seen[generation] = case.last_seq
                with suppress(TimeoutError):
                    await asyncio.wait_for(bell.wait(), deadline - clock())

    def ring(self, generation: UUID) -> None:
        """Something was recorded about this answer."""
        bell = self._bells.pop(generation, None)
        if bell is not None:
            bell.set()

    async def run(self) -> None:
        """Look for what other processes record, until cancelled. Failures are retried, never raised."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            for tenant in list(self._waiting):
                try:
                    await self.look(tenant)
                except AuditError as error:
                    _log.warning("approvals.unwatched", tenant=tenant, error=type(error).__name__)
                except Exception:  # noqa: BLE001 - one bad look must not end all later ones
                    _log.exception("approvals.watch_failed", tenant=tenant)

    async def look(self, tenant: str) -> None:
        """Ring for every answer of the tenant that has news."""
        newest = await asyncio.to_thread(self._files.newest, tenant, list(self._waiting[tenant]))
        for generation, seq in newest.items():
            if seq > self._seen.get(generation, seq):
                self.ring(generation)

    @contextmanager
    def _listening(self, tenant: str, generation: UUID) -> Iterator[None]:
        self._waiting[tenant][generation] += 1
        try:
            yield
        finally:
            self._waiting[tenant][generation] -= 1
            if not self._waiting[tenant][generation]:
                self._forget(tenant, generation)

    def _forget(self, tenant: str, generation: UUID) -> None:
        del self._waiting[tenant][generation]
        if not self._waiting[tenant]:
            del self._waiting[tenant]
        self._bells.pop(generation, None)
        self._seen.pop(generation, None)
