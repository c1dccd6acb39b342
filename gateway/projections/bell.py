"""How far the queue of a tenant has changed, asked once for everybody who listens in this process."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from gateway.projections.queue import Queue

LOOK_SECONDS: Final = 0.5


@dataclass(slots=True)
class _Known:
    """The newest change that was seen, and when."""

    seq: int = -1
    at: float = float("-inf")
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Bell:
    """Belongs to the event loop."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._known: defaultdict[str, _Known] = defaultdict(_Known)

    async def newest(self, tenant: str) -> int:
        """The seq of the newest change, at most half a second old; -1 before the first. Raises SQLAlchemyError."""
        known = self._known[tenant]
        async with known.turn:
            if time.monotonic() - known.at >= LOOK_SECONDS:
                known.seq = await asyncio.to_thread(self._queue.newest, tenant)
                known.at = time.monotonic()
        return known.seq
