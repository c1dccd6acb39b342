"""Whose seconds an accelerator's are: while several generations run, each is charged an equal share of the time that passes.

So the shares of all generations add up to the time in which any of them ran. Lives on the event loop.
"""

from __future__ import annotations

import time
from collections import deque
from decimal import Decimal
from typing import Final

REMEMBERED: Final = 64
UNKNOWN_PACE: Final = Decimal("0.02")
"""Seconds of a forward before any generation has told."""
CAUTION: Final = 2
"""How many times the usual pace is reserved."""
_MICRO: Final = Decimal("0.000001")


class Accelerator:
    """The clock of shares, and the pace at which forwards have gone lately."""

    def __init__(self) -> None:
        self._running = 0
        self._share = 0.0
        self._since = time.monotonic()
        self._told: deque[tuple[Decimal, int]] = deque(maxlen=REMEMBERED)

    def enter(self) -> float:
        """A generation begins; the answer is what `leave` needs."""
        self._advance()
        self._running += 1
        return self._share

    def leave(self, entered: float) -> Decimal:
        """It ends: its seconds, to the microsecond."""
        self._advance()
        self._running -= 1
        return Decimal(self._share - entered).quantize(_MICRO)

    def learn(self, seconds: Decimal, forwards: int) -> None:
        """A generation took so long for so many forwards, its prefill among the seconds."""
        if forwards:
            self._told.append((seconds, forwards))

    @property
    def pace(self) -> Decimal:
        """Seconds to reserve for each forward."""
        if not self._told:
            return UNKNOWN_PACE
        seconds = sum((told[0] for told in self._told), Decimal(0))
        forwards = sum(told[1] for told in self._told)
        return (CAUTION * seconds / forwards).quantize(_MICRO)

    def _advance(self) -> None:
        now = time.monotonic()
        if self._running:
            self._share += (now - self._since) / self._running
        self._since = now
