"""Which gateway processes live: each holds a PostgreSQL advisory lock keyed by its instance id.

The server drops the lock with the session, so a killed process is known to be dead the moment its connection breaks. A lost
connection is taken up again by `beat()`. Whoever takes over the requests of a dead instance holds that instance's lock while it
does, so two starts never abandon the same request twice. Blocking: call it in a thread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import Connection, create_engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from gateway.settings import DatabaseUrl, sqlalchemy_url


class Presence:
    """This process's lock, and the question whether another's is free."""

    def __init__(self, url: DatabaseUrl, instance: UUID) -> None:
        self._engine = create_engine(
            sqlalchemy_url(url),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"connect_timeout": 3},
        )
        self._instance = instance
        self._held: Connection | None = None

    def beat(self) -> None:
        """Hold the lock, or take it up again after a lost connection. Raises SQLAlchemyError when unreachable."""
        if self._held is not None:
            try:
                self._held.execute(select(1))
            except SQLAlchemyError:
                self._drop()
        if self._held is None:
            connection = self._engine.connect()
            connection.execute(select(func.pg_advisory_lock(_key(self._instance))))
            self._held = connection

    @contextmanager
    def claim_dead(self, instance: UUID) -> Iterator[bool]:
        """True while this process stands in for `instance`; False if that lives or another process stands in for it."""
        if instance == self._instance:
            yield False
            return
        with self._engine.connect() as connection:
            yield bool(connection.scalar(select(func.pg_try_advisory_lock(_key(instance)))))

    def close(self) -> None:
        """Let the lock go."""
        self._drop()
        self._engine.dispose()

    def _drop(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            held.invalidate()
            held.close()


def _key(instance: UUID) -> int:
    """The 64-bit lock number of an instance; a clash would only delay a take-over."""
    digest = hashlib.sha256(b"palimpsest/instance\0" + instance.bytes).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
