"""What the gateway needs of the log's writer, and patience with its queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from audit.errors import QueueFull
from audit.writer import Entry, Range

QUEUE_RETRY_SECONDS: Final = 0.02


class Log(Protocol):
    """What is needed of `audit.writer.Writer`."""

    async def append(self, entries: Sequence[Entry], linger: float = 0.0) -> Range: ...
    def hurry(self) -> None: ...


async def append_when_room(log: Log, entries: Sequence[Entry], linger: float = 0.0, patience: float = 30.0) -> Range:
    """Append, waiting while the log's queue is full; events then pile up before the engine, which stops stepping.

    Raises LogUnavailable when the log cannot commit, QueueFull when there is no room for `patience` seconds.
    """
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            return await log.append(entries, linger)
        except QueueFull:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(QUEUE_RETRY_SECONDS)
