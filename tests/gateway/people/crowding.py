"""A line for passwords that is full, for as long as a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Event

from gateway.people.hashing import AT_ONCE, WAITING, Line, in_turn


@asynccontextmanager
async def crowded(line: Line) -> AsyncIterator[list[asyncio.Task[bool]]]:
    """As much work as the line takes, none of which ends before the block does."""
    over = Event()
    work = [asyncio.create_task(in_turn(line, lambda: over.wait(15))) for _ in range(AT_ONCE + WAITING)]
    await asyncio.sleep(0)  # each has its place now
    try:
        yield work
    finally:
        over.set()
        assert all(await asyncio.gather(*work))
