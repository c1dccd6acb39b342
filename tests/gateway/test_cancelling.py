"""Whoever listens for cancellations lets go of its connection only when no thread reads from it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from sqlalchemy import event

from audit.header import uuid7
from gateway.background import Background
from gateway.cancelling import Cancelling
from gateway.settings import DatabaseUrl
from tests.postgres_fixtures import Database

PATIENCE = 20.0


async def test_a_connection_is_not_closed_beneath_a_thread_that_reads(database: Database) -> None:
    """Stopped while a thread asks the server, it waits for that thread; then the connection is closed."""
    cancelling = Cancelling(DatabaseUrl(database.app_url), Background())
    reading, going_on = threading.Event(), threading.Event()
    connections: list[Any] = []

    def slowly(connection: Any, _cursor: object, statement: str, *_more: object) -> None:
        if statement == "SELECT 1":
            connections.append(connection.connection.driver_connection)
            reading.set()
            assert going_on.wait(PATIENCE)

    event.listen(cancelling._engine, "before_cursor_execute", slowly)
    listening = asyncio.create_task(cancelling.run())
    try:
        while not reading.is_set():  # what is told before anybody listens is heard by nobody
            await cancelling.tell("acme", uuid7())
            await asyncio.sleep(0.05)
        listening.cancel()
        done, _ = await asyncio.wait({listening}, timeout=0.2)
        assert not done and not connections[0].closed
    finally:
        going_on.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(listening, PATIENCE)
    assert connections[0].closed
