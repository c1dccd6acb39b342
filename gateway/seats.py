"""How many generations one gateway takes on: each holds a seat from before its admission until it is closed in the log."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Final

from gateway.errors import Overloaded

REMEMBERED: Final = 64
UNKNOWN_SECONDS: Final = 5
LONGEST_SECONDS: Final = 60


class Seats:
    """A bounded number of seats, and an honest guess of when the next one will be free. Lives on the event loop."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken = 0
        self._ends: deque[float] = deque(maxlen=REMEMBERED)

    @property
    def taken(self) -> int:
        """How many have one."""
        return self._taken

    @contextmanager
    def held(self) -> Iterator[None]:
        """Takes a seat and keeps it unless the body fails. Raises Overloaded when none is free."""
        if self._taken >= self._count:
            message = f"{self._taken} generations wait or run here already: try again later"
            raise Overloaded(message, retry_seconds=self._retry_seconds())
        self._taken += 1
        try:
            yield
        except BaseException:
            self._taken -= 1
            raise

    def leave(self) -> None:
        """A generation has ended and gives its seat back."""
        self._taken -= 1
        self._ends.append(time.monotonic())

    def _retry_seconds(self) -> int:
        """The mean time between the latest ends, from the first remembered one until now; at least a second."""
        if not self._ends:
            return UNKNOWN_SECONDS
        return min(LONGEST_SECONDS, max(1, ceil((time.monotonic() - self._ends[0]) / len(self._ends))))
