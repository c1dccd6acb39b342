"""An answer in the background is cancelled at any gateway process: whoever is asked tells all of them, by NOTIFY of PostgreSQL.

Nothing is kept, so a process that does not hear is told again for as long as somebody waits for it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import Connection, create_engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from gateway.background import Background
from gateway.pools import close_when_made, to_its_end
from gateway.settings import DatabaseUrl, sqlalchemy_url

CHANNEL: Final = "palimpsest_cancel"
AGAIN_SECONDS: Final = 1.0
"""Between connections that were lost."""
NAME: Final = "palimpsest cancelling"
CONNECT: Final = {
    "application_name": NAME, "connect_timeout": 3, "keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3,
}  # fmt: skip
_log = structlog.get_logger(__name__)


class Cancelling:
    """What this process hears and tells. Belongs to the event loop."""

    def __init__(self, url: DatabaseUrl, background: Background[Any]) -> None:
        self._engine = create_engine(
            sqlalchemy_url(url), poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=CONNECT
        )
        self._background = background
        self._heard: list[str] = []
        self._stopping: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Listen until cancelled, over one connection."""
        while True:
            try:
                await self._listen()
            except SQLAlchemyError as error:
                _log.warning("cancelling.deaf", error=type(error).__name__)
            await asyncio.sleep(AGAIN_SECONDS)

    async def tell(self, tenant: str, generation: UUID) -> None:
        """Tell every process to stop it. Raises SQLAlchemyError."""
        await asyncio.to_thread(self._notify, f"{generation} {tenant}")

    async def _listen(self) -> None:
        connecting = asyncio.create_task(asyncio.to_thread(self._connect))
        try:
            connection = await asyncio.shield(connecting)
            place = connection.connection.driver_connection.fileno()  # type: ignore[union-attr]  # it is open
            while True:
                await _readable(place)
                await to_its_end(connection.scalar, select(1))  # which takes in what has come, or finds the line dead
                self._obey()
        finally:
            # Also when we are cancelled while the thread still connects: what it gets must not be kept.
            await asyncio.shield(close_when_made(connecting))

    def _connect(self) -> Connection:
        connection = self._engine.connect()
        try:
            connection.connection.driver_connection.add_notify_handler(  # type: ignore[union-attr]
                lambda notice: self._heard.append(notice.payload)
            )
            connection.exec_driver_sql(f"LISTEN {CHANNEL}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _obey(self) -> None:
        while self._heard:
            generation, _, tenant = self._heard.pop().partition(" ")
            running = self._background.find(tenant, UUID(generation))
            if running is not None and not running.cancelled:
                task = asyncio.create_task(running.cancel())
                self._stopping.add(task)
                task.add_done_callback(self._stopping.discard)

    def _notify(self, payload: str) -> None:
        with self._engine.connect() as connection:
            connection.execute(select(func.pg_notify(CHANNEL, payload)))


async def _readable(place: int) -> None:
    """Returns when something has come at a socket, or it was closed."""
    loop, come = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(place, come.set)
    try:
        await come.wait()
    finally:
        loop.remove_reader(place)
