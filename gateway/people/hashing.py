"""Where passwords are hashed while the gateway serves: in a few threads of their own, with a short line before them.

A hash takes a fifth of a second and 64 MiB, and nobody has to prove anything to ask for one. The threads of the event loop
sign the log and look up keys: no hash ever waits there. Those who are signed in wait in another line than strangers, so that
no flood of names keeps an approver from signing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from threading import BoundedSemaphore
from typing import Final, TypeVar

from gateway.errors import GatewayError

T = TypeVar("T")
AT_ONCE: Final = max(1, min(4, (os.cpu_count() or 1) // 2))
"""Hashes that one process computes at the same time; each takes 64 MiB and four lanes."""
WAITING: Final = 16
"""Hashes of one line that wait or run, beyond those at once."""
_THREADS: Final = ThreadPoolExecutor(AT_ONCE, "passwords")


class Crowded(GatewayError):
    """More people give passwords at this moment than can be looked at."""

    status = 429
    kind = "rate_limit_error"
    default_code = "too_many_attempts"

    def __init__(self) -> None:
        super().__init__("Too many passwords are being checked at this moment. Try again in a few seconds.")

    def headers(self) -> dict[str, str]:
        return {"retry-after": "5"}


class Line(Enum):
    """Who waits."""

    STRANGERS = "strangers"
    PEOPLE = "people"
    """They are signed in."""


_ROOM: Final = {line: BoundedSemaphore(AT_ONCE + WAITING) for line in Line}


async def in_turn(line: Line, work: Callable[[], T]) -> T:
    """What `work`, which hashes, gives or raises. Raises Crowded at once where the line is full."""
    room = _ROOM[line]
    if not room.acquire(blocking=False):
        raise Crowded
    future = _THREADS.submit(work)
    # Work that has begun outlives a cancelled caller, and keeps its place until it ends.
    future.add_done_callback(lambda _: room.release())
    return await asyncio.wrap_future(future)
