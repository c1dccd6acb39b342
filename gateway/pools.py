"""Closing connections while threads may still use or make some: a thread cannot be cancelled."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import SQLAlchemyError


def close_pool(engine: Engine) -> None:
    """Close all connections; one that is in use is closed when it is given back."""
    event.listen(engine, "checkin", _close)
    engine.dispose()


async def close_when_made(making: asyncio.Task[Connection] | asyncio.Task[Connection | None]) -> None:
    """Close what a thread makes, once it is there; to be shielded by whoever was cancelled meanwhile."""
    with suppress(SQLAlchemyError):
        connection = await making
        if connection is not None:
            await asyncio.to_thread(connection.close)


def _close(connection: Any, _record: object) -> None:
    connection.close()
