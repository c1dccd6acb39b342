"""What a serving gateway looks after by the clock: that the log's guards are still those of this release, its partitions, and
that exports which wait to be downloaded do so no longer than they may.

A catalog that somebody changed closes the gateway: nothing more is admitted until it is whole again and the gateway was started
anew, since what was recorded meanwhile may not be what was meant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from audit.errors import AuditError
from audit.store import AppendConnection
from gateway.settings import DatabaseUrl
from migrations.catalog import CatalogAltered, require_intact
from migrations.cluster import MigrationError

HOUR: Final = 3600.0
HOURS_A_DAY: Final = 24
_log = structlog.get_logger(__name__)


class Upkeep:
    """A task of the house; `intact` is what it found last."""

    def __init__(self, app_url: DatabaseUrl, drop_old: Callable[[], None], pause: float = HOUR) -> None:
        """`pause` in seconds between two looks at catalog and exports; partitions are tended every 24 pauses.

        `drop_old` removes exports whose time is over, and blocks.
        """
        self.intact = True
        self._url, self._drop_old, self._pause = app_url, drop_old, pause

    async def run(self) -> None:
        """Look after things until cancelled. A database that is away is asked again at the next turn."""
        turn = 0
        while self.intact:
            await asyncio.sleep(self._pause)
            turn += 1
            await self.look()
            await self._sweep()
            if turn % HOURS_A_DAY == 0:
                await self._tend()

    async def look(self) -> None:
        """Compare the catalog with this release once."""
        try:
            await asyncio.to_thread(require_intact, self._url)
        except CatalogAltered as error:
            self.intact = False
            _log.critical("catalog.altered", error=str(error))
        except MigrationError as error:
            _log.warning("catalog.unread", error=str(error))

    async def _sweep(self) -> None:
        try:
            await asyncio.to_thread(self._drop_old)
        except (OSError, msgspec.MsgspecError) as error:
            _log.warning("exports.unswept", error=str(error))

    async def _tend(self) -> None:
        try:
            connection = await AppendConnection.open(self._url)
            try:
                await connection.tend_partitions()
            finally:
                await connection.close()
        except AuditError as error:
            _log.warning("partitions.untended", error=str(error))
