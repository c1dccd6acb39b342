"""One log as the read-only resources of C2SP tlog-tiles, under whatever prefix a server gives them.

Only what the newest signed checkpoint covers is shown. Upper levels of the tree are kept in memory, one hash for 256
leaves; leaves and entries are read from the log when they are asked for, and no more than 256 are held at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from threading import Lock
from typing import Protocol

from audit.errors import MalformedData
from audit.merkle import tree_root
from audit.note import tree_of
from audit.tiles import WIDTH, EntryBundle, Tile, entry_bundle, leaf_tile, parse_path

CHECKPOINT = "checkpoint"


class LogSource(Protocol):
    """What a log has to tell; `start` and `stop` count leaves from 0, and `stop` is never beyond the checkpoint."""

    def newest_checkpoint(self) -> str | None:
        """The newest signed note, or None before the first."""

    def leaf_hashes(self, start: int, stop: int) -> Iterable[bytes]:
        """The leaf hashes of [start, stop), 32 bytes each; a long range is best streamed."""

    def headers(self, start: int, stop: int) -> Iterable[bytes]:
        """The stored header bytes of [start, stop)."""


class TileLog:
    """The tiles of one log; safe for use by several threads."""

    def __init__(self, source: LogSource) -> None:
        self._source = source
        self._upper: list[list[bytes]] = [[]]  # level 1 first; a hash stands for one full tile of the level below
        self._covered = 0  # leaves that a checkpoint is known to cover; another covers no fewer
        self._lock = Lock()

    def resource(self, path: str) -> bytes | None:
        """The bytes at `checkpoint`, `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`, or None where nothing is.

        Every path but `checkpoint` names bytes that never change. Errors of the source pass through.
        """
        if path == CHECKPOINT:
            note = self._source.newest_checkpoint()
            return None if note is None else note.encode()
        try:
            place = parse_path(path)
        except MalformedData:
            return None
        return self.tile(place) if isinstance(place, Tile) else self.bundle(place)

    def tile(self, tile: Tile) -> bytes | None:
        """A tile of the signed tree (this is a TileReader)."""
        start = tile.index * WIDTH
        stop = start + tile.width
        if stop > self._covered >> 8 * tile.level:
            self._covered = max(self._covered, self._size())
        size = self._covered
        if stop > size >> 8 * tile.level:
            return None
        if tile.level == 0:
            return leaf_tile(_all_there(tuple(self._source.leaf_hashes(start, stop)), start, stop))
        with self._lock:
            self._grow(size)
            return b"".join(self._upper[tile.level - 1][start:stop])

    def bundle(self, place: EntryBundle) -> bytes | None:
        """The headers at a place, length-prefixed."""
        start = place.index * WIDTH
        stop = start + place.width
        if stop > self._size():
            return None
        entries = tuple(self._source.headers(start, stop))
        return entry_bundle(_all_there(entries, start, stop))

    def _size(self) -> int:
        note = self._source.newest_checkpoint()
        return 0 if note is None else tree_of(note).size

    def _grow(self, size: int) -> None:
        start, stop = len(self._upper[0]) * WIDTH, size // WIDTH * WIDTH
        if start < stop:
            leaves = iter(self._source.leaf_hashes(start, stop))
            for first in range(start, stop, WIDTH):
                self._push(tree_root(_all_there(tuple(islice(leaves, WIDTH)), first, first + WIDTH)))

    def _push(self, root: bytes) -> None:
        """Add the root of a full level 0 tile, and of every tile above that it completes."""
        for level in self._upper:
            level.append(root)
            if len(level) % WIDTH:
                return
            root = tree_root(level[-WIDTH:])
        self._upper.append([root])


def _all_there(found: tuple[bytes, ...], start: int, stop: int) -> tuple[bytes, ...]:
    if len(found) != stop - start:
        raise MalformedData(f"the log gave {len(found)} leaves for [{start}, {stop}), which its checkpoint covers")
    return found
