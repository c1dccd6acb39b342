"""Which gateway processes live: each holds a PostgreSQL advisory lock keyed by its instance id.

The server drops the lock with the session, so a killed process is known to be dead the moment its connection breaks. A lost
connection is taken up again by `beat()`. Whoever takes over the requests of a dead instance holds that instance's lock while it
does, so two starts never abandon the same request twice. `claim_dead` belongs to the event loop and never blocks it; the other
methods block: call them in a thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, create_engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from gateway.pools import CLOSE_SECONDS, close_pool, close_when_made
from gateway.settings import DatabaseUrl, sqlalchemy_url

# A lock that an old session of ours still holds is worth waiting for, but not for as long as TCP may take to bury that session.
PATIENCE: Final = "-c lock_timeout=3s"


class Presence:
    """This process's lock, and the question whether another's is free."""

    def __init__(self, url: DatabaseUrl, instance: UUID) -> None:
        self._engine = create_engine(
            sqlalchemy_url(url, PATIENCE), poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3}
        )
        self._instance = instance
        self._held: Connection | None = None
        self._using, self._closed = threading.Lock(), False
        """Held by whoever uses the connection."""

    def beat(self) -> bool:
        """Hold the lock, or take it up again after a lost connection; True if it was held all the time.

        Raises SQLAlchemyError when the server cannot be reached, or another session keeps the lock for too long.
        """
        try:
            with self._using:
                return self._renewed()
        finally:
            if self._closed:
                self.close()

    def _renewed(self) -> bool:
        if self._held is not None:
            try:
                self._held.execute(select(1))
            except SQLAlchemyError:
                self._drop()
            else:
                return True
        self._held = self._take_up()
        return False

    @asynccontextmanager
    async def claim_dead(self, instance: UUID) -> AsyncIterator[bool]:
        """True while this process stands in for `instance`; False if that lives or another process stands in for it.

        Raises SQLAlchemyError when the server cannot be reached.
        """
        if instance == self._instance:
            yield False
            return
        asking = asyncio.create_task(asyncio.to_thread(self._stand_in, instance))
        try:
            yield await asyncio.shield(asking) is not None
        finally:
            # Also when we are cancelled while the thread still asks: what it gets must not be kept.
            await asyncio.shield(close_when_made(asking))

    def close(self) -> None:
        """Let the lock go, for good; a beat that hangs does so when it ends."""
        self._closed = True
        if self._using.acquire(timeout=CLOSE_SECONDS):
            try:
                self._drop()
            finally:
                self._using.release()
        close_pool(self._engine)

    def _take_up(self) -> Connection:
        connection = self._engine.connect()
        try:
            connection.execute(select(func.pg_advisory_lock(_key(self._instance))))
        except BaseException:
            connection.close()
            raise
        return connection

    def _stand_in(self, instance: UUID) -> Connection | None:
        """A connection that holds the lock of `instance`, None if that is taken."""
        connection, got = self._engine.connect(), False
        try:
            got = bool(connection.scalar(select(func.pg_try_advisory_lock(_key(instance)))))
        finally:
            if not got:
                connection.close()
        return connection if got else None

    def _drop(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            held.invalidate()
            held.close()


def _key(instance: UUID) -> int:
    """The 64-bit lock number of an instance; a clash would only delay a take-over."""
    digest = hashlib.sha256(b"palimpsest/instance\0" + instance.bytes).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
