"""What the gateway needs of the log's writer, and patience with its queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum
from typing import Final, Protocol

from audit.errors import QueueFull
from audit.writer import Entry, Range

QUEUE_RETRY_SECONDS: Final = 0.02


class Log(Protocol):
    """What is needed of `audit.writer.Writer`."""

    async def append(self, entries: Sequence[Entry], linger: float = 0.0) -> Range: ...
    def hurry(self, linger: float = 0.0) -> None: ...


class Haste(Enum):
    """How long records may wait for a commit of others: seconds for every other answer under way, and at most.

    A commit costs much the same for one record as for twenty, and what it takes the engine lacks. So the more answers there
    are to share it, the longer each waits; a lone one never does.
    """

    AWAITED = (0.0003, 0.005)
    """Somebody cannot go on before they are stored: an answer that is to begin, or one that has ended."""
    RUNNING = (0.003, 0.05)
    """The answer goes on meanwhile; only what it has said so far leaves later."""

    def linger(self, others: int) -> float:
        """In seconds, beside so many others."""
        each, most = self.value
        return min(most, each * others)


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
