"""An answer in the background is cancelled at any gateway process: whoever is asked tells all of them, by NOTIFY of PostgreSQL.

Nothing is kept, so a process that does not hear is told again for as long as somebody waits for it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog
from psycopg.conninfo import make_conninfo

from gateway.background import Background
from gateway.settings import DatabaseUrl

CHANNEL: Final = "palimpsest_cancel"
AGAIN_SECONDS: Final = 1.0
"""Between connections that were lost."""
_CONNECT: Final = {"connect_timeout": 3, "keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3}
_log = structlog.get_logger(__name__)


class Cancelling:
    """What this process hears and tells. Belongs to the event loop."""

    def __init__(self, url: DatabaseUrl, background: Background[Any]) -> None:
        self._conninfo = make_conninfo(url, application_name="palimpsest cancelling", **_CONNECT)
        self._background = background
        self._told: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Listen until cancelled, over one connection."""
        while True:
            try:
                await self._listen()
            except psycopg.Error as error:
                _log.warning("cancelling.deaf", error=type(error).__name__)
            await asyncio.sleep(AGAIN_SECONDS)

    async def tell(self, tenant: str, generation: UUID) -> None:
        """Tell every process to stop it. Raises psycopg.Error."""
        await asyncio.to_thread(self._notify, f"{generation} {tenant}")

    async def _listen(self) -> None:
        async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            async for notice in connection.notifies():
                self._hear(notice.payload)

    def _hear(self, payload: str) -> None:
        generation, _, tenant = payload.partition(" ")
        running = self._background.find(tenant, UUID(generation))
        if running is not None and not running.cancelled:
            task = asyncio.create_task(running.cancel())
            self._told.add(task)
            task.add_done_callback(self._told.discard)

    def _notify(self, payload: str) -> None:
        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))
