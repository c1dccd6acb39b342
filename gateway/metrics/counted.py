"""Whole numbers by a few labels, kept where something happens and read when somebody asks.

What is counted costs one addition. Label values come from closed sets of our own words; should one grow after all, what is
beyond `most` counts as `other`, so that no client can make the numbers grow without end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from opentelemetry.metrics import Observation

OTHER: Final = "other"
MOST: Final = 256


class Counted:
    """Sums by label values; those of `known` are told as 0 before anything has happened. Each sum is added to by one thread."""

    def __init__(self, *labels: str, known: Iterable[tuple[str, ...]] = (), most: int = MOST) -> None:
        self._labels, self._most = labels, most
        self._sums: dict[tuple[str, ...], float] = dict.fromkeys(known, 0)

    def add(self, *values: str, by: float = 1) -> None:
        """Count something under its label values, in the order of the labels."""
        if values not in self._sums and len(self._sums) >= self._most:
            values = (OTHER,) * len(self._labels)
        self._sums[values] = self._sums.get(values, 0) + by

    def observed(self) -> list[Observation]:
        """All sums as they are now."""
        sums = list(self._sums.items())  # at once, for another thread may add
        return [Observation(total, dict(zip(self._labels, values, strict=True))) for values, total in sums]
