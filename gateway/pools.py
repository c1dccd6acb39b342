"""Closing connections while threads may still use or make some: a thread cannot be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import SQLAlchemyError

CLOSE_SECONDS: Final = 5.0
"""How long a close waits for a thread: a connection that is closed beneath one lets it read what is another's."""
T = TypeVar("T")


def close_pool(engine: Engine) -> None:
    """Close all connections; one that is in use is closed when it is given back."""
    event.listen(engine, "checkin", _close)
    engine.dispose()


async def to_its_end(work: Callable[..., T], *given: Any) -> T:
    """What a thread makes of it; a cancellation waits until the thread is done with what it uses, `CLOSE_SECONDS` at most."""
    task = asyncio.create_task(asyncio.to_thread(work, *given))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=CLOSE_SECONDS)
        raise


async def close_when_made(making: asyncio.Task[Connection] | asyncio.Task[Connection | None]) -> None:
    """Close what a thread makes, once it is there; to be shielded by whoever was cancelled meanwhile."""
    with suppress(SQLAlchemyError):
        connection = await making
        if connection is not None:
            await asyncio.to_thread(connection.close)


def _close(connection: Any, _record: object) -> None:
    connection.close()
