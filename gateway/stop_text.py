"""Where an answer's text ends: before the first stop string, which the client never sees any part of."""

from __future__ import annotations

from collections.abc import Sequence


class StopText:
    """Passes an answer's bytes through, keeps back what may be the head of a stop string, and ends at a whole one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop.encode() for stop in stops]
        self._kept = b""
        self._ended = False
        self.found: str | None = None
        """The stop string that ended the text."""

    def clear(self, data: bytes) -> bytes:
        """The bytes that are certain to come before any stop string, `data` being the next of the answer."""
        if self._ended:
            return b""
        kept = self._kept + data
        found = [(place, stop) for stop in self._stops if (place := kept.find(stop)) >= 0]
        if found:
            place, stop = min(found)
            self._ended, self._kept, self.found = True, b"", stop.decode()
            return kept[:place]
        border = len(kept) - self._head(kept)
        self._kept = kept[border:]
        return kept[:border]

    def rest(self) -> bytes:
        """The answer is over, so what was kept back is no stop string."""
        kept, self._kept = self._kept, b""
        return kept

    def _head(self, data: bytes) -> int:
        """The length of the longest end of `data` that a stop string begins with."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        sizes = range(min(longest, len(data)), 0, -1)
        return next((size for size in sizes if any(stop.startswith(data[-size:]) for stop in self._stops)), 0)
