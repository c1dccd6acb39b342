"""One act at a time on each held answer, in all processes: an advisory lock on a connection of its own.

The server drops the lock with the connection, so a process that dies holds up nobody. Waiting takes no thread: whoever waits
inside this process waits on the loop, and the lock itself is only ever tried.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from sqlalchemy import Connection, create_engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from gateway.errors import Unavailable
from gateway.settings import DatabaseUrl, sqlalchemy_url

PATIENCE_SECONDS: Final = 20.0
RETRY_SECONDS: Final = 0.02


class Turn:
    """The right to act, as long as the connection that holds it lives."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def require(self) -> None:
        """Raise Unavailable unless the turn is still ours: asked right before something is recorded."""
        try:
            await asyncio.to_thread(self._connection.execute, select(1))
        except SQLAlchemyError as error:
            raise Unavailable("the database was away in between; nothing was recorded, try again") from error

    async def end(self) -> None:
        """Let others go on."""
        await asyncio.to_thread(self._connection.close)


class Turns:
    """Turns by name. Belongs to one event loop."""

    def __init__(self, app_url: DatabaseUrl) -> None:
        self._engine = create_engine(
            sqlalchemy_url(app_url), poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3}
        )
        self._here: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, name: str) -> AsyncIterator[Turn]:
        """The turn of this name, waited for. Raises Unavailable when the database is away, or others take too long."""
        lock = self._here.setdefault(name, asyncio.Lock())
        async with lock:
            taking = asyncio.create_task(self._take(_key(name)))
            try:
                yield await asyncio.shield(taking)
            finally:
                await asyncio.shield(_let_go(taking))

    async def _take(self, key: int) -> Turn:
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            connection = await asyncio.to_thread(self._engine.connect)
        except SQLAlchemyError as error:
            raise Unavailable("the database cannot be reached; try again later", code="database_unavailable") from error
        try:
            while not await asyncio.to_thread(connection.scalar, select(func.pg_try_advisory_lock(key))):
                if time.monotonic() > deadline:
                    raise Unavailable("somebody else acts on this answer; try again")
                await asyncio.sleep(RETRY_SECONDS)
        except BaseException as error:
            await asyncio.to_thread(connection.close)
            if isinstance(error, SQLAlchemyError):
                raise Unavailable("the database cannot be reached; try again later", code="database_unavailable") from error
            raise
        return Turn(connection)


async def _let_go(taking: asyncio.Task[Turn]) -> None:
    """Also when we were cancelled while the lock was being taken: what it got must not be kept."""
    await asyncio.wait({taking})
    if not taking.cancelled() and taking.exception() is None:
        await taking.result().end()


def _key(name: str) -> int:
    """The 64-bit lock number of a name; a clash would only make two take turns."""
    digest = hashlib.sha256(b"palimpsest/approval\0" + name.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
