"""How long a forward has taken lately, for what is reserved of seconds that nobody can know before a request runs."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Final

REMEMBERED: Final = 64
UNKNOWN_PACE: Final = Decimal("0.02")
"""Seconds of a forward before any generation has told."""
CAUTION: Final = 2
"""How many times the usual time is reserved."""
_MICRO: Final = Decimal("0.000001")


class Pace:
    """Seconds of the device by forwards, over the generations that ended last. Lives on the event loop."""

    def __init__(self) -> None:
        self._told: deque[tuple[Decimal, int]] = deque(maxlen=REMEMBERED)

    def learn(self, seconds: Decimal, forwards: int) -> None:
        """A generation took so long for so many forwards, its prefill among the seconds."""
        if forwards:
            self._told.append((seconds, forwards))

    @property
    def reserved(self) -> Decimal:
        """Seconds to reserve for each forward."""
        if not self._told:
            return UNKNOWN_PACE
        seconds = sum((told[0] for told in self._told), Decimal(0))
        forwards = sum(told[1] for told in self._told)
        return (CAUTION * seconds / forwards).quantize(_MICRO)
