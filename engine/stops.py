"""Where an answer ends by itself: at an id that stops, or with the token that completes a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Stops:
    """Follows one answer; strings are searched for in its bytes, across token borders."""

    def __init__(self, ids: frozenset[int], strings: Sequence[str], decode_bytes: Callable[[Sequence[int]], bytes]) -> None:
        self._ids, self._decode_bytes = ids, decode_bytes
        self._strings = [string.encode() for string in strings]
        self._reach = max(map(len, self._strings), default=1) - 1
        self._tail = b""

    def first(self, ids: Sequence[int]) -> int | None:
        """The index of the first of the next `ids` that would end the answer."""
        if not self._strings:
            if self._ids.isdisjoint(ids):
                return None
            return next(index for index, token in enumerate(ids) if token in self._ids)
        tail = self._tail
        for index, token in enumerate(ids):
            if token in self._ids:
                return index
            tail += self._decode_bytes((token,))
            if any(string in tail for string in self._strings):
                return index
            tail = self._kept(tail)
        return None

    def read(self, ids: Sequence[int]) -> None:
        """These ids are part of the answer now."""
        if self._strings:
            self._tail = self._kept(self._tail + self._decode_bytes(ids))

    def _kept(self, tail: bytes) -> bytes:
        """What may still be the beginning of a stop string."""
        return tail[len(tail) - self._reach :] if len(tail) > self._reach else tail
