"""C2SP tlog-tiles: the tree of a log as static pieces of 256 hashes, and proofs made from such pieces.

The n-th tile of level l holds the roots over 256**l leaves each, from leaf n * 256**(l+1) on; the rightmost tile of a
level is partial. Whoever has the tiles can compute every root and proof and never needs all leaves. A proof from
tiles is worth what the tiles are worth: verify it against a signed root.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from audit.errors import MalformedData, ProofInvalid
from audit.merkle import EMPTY_ROOT, HASH_BYTES, consistency_ranges, inclusion_ranges, node_hash, tree_root

WIDTH = 256
_HEIGHT = 8
_MAX_LEVEL = 63
_NUMBER = re.compile(r"(?:x[0-9]{3}/)*[0-9]{3}")
_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/([x0-9/]{3,40}?)(?:\.p/([0-9]{1,3}))?")


@dataclass(frozen=True, slots=True)
class Tile:
    """The place of a tile: `width` hashes of 32 bytes at a level (0 to 63) and index."""

    level: int
    index: int
    width: int = WIDTH

    def __post_init__(self) -> None:
        if not (0 <= self.level <= _MAX_LEVEL and 0 <= self.index < 1 << 55 and 1 <= self.width <= WIDTH):
            raise MalformedData(f"there is no tile of level {self.level}, index {self.index} and width {self.width}")

    @property
    def path(self) -> str:
        """Its path under the log's prefix."""
        return f"tile/{self.level}/{_place(self.index, self.width)}"

    @property
    def full(self) -> Tile:
        """The full tile at the same place."""
        return Tile(self.level, self.index)


@dataclass(frozen=True, slots=True)
class EntryBundle:
    """The place of `width` log entries, from entry `index * 256` on."""

    index: int
    width: int = WIDTH

    def __post_init__(self) -> None:
        if not (0 <= self.index < 1 << 55 and 1 <= self.width <= WIDTH):
            raise MalformedData(f"there is no entry bundle of index {self.index} and width {self.width}")

    @property
    def path(self) -> str:
        """Its path under the log's prefix."""
        return f"tile/entries/{_place(self.index, self.width)}"


class TileReader(Protocol):
    """Where tiles come from: a database, a folder, a log's HTTP prefix."""

    def tile(self, tile: Tile) -> bytes | None:
        """The bytes at this place, 32 per hash, or None where there are none."""


def _place(index: int, width: int) -> str:
    digits = f"{index:03d}"
    digits = digits.zfill((len(digits) + 2) // 3 * 3)
    *high, last = (digits[at : at + 3] for at in range(0, len(digits), 3))
    return "".join(f"x{part}/" for part in high) + last + ("" if width == WIDTH else f".p/{width}")


def parse_path(path: str) -> Tile | EntryBundle:
    """The tile or bundle that a path names; raises MalformedData for every other spelling."""
    match = _PATH.fullmatch(path)
    if match is None or not _NUMBER.fullmatch(match[2]):
        raise MalformedData("this is no path of a tile or an entry bundle")
    index = int(match[2].replace("x", "").replace("/", ""))
    width = WIDTH if match[3] is None else int(match[3])
    found = EntryBundle(index, width) if match[1] == "entries" else Tile(int(match[1]), index, width)
    if found.path != path:
        raise MalformedData("a tile path is written without needless zeroes, and a full tile without a width")
    return found


def tiles_of(size: int, since: int = 0) -> Iterator[Tile]:
    """Every tile of a tree of `size` that a tree of `since` leaves does not have, lowest level first."""
    level = 0
    while size:
        for index in range(since // WIDTH, (size + WIDTH - 1) // WIDTH):
            width = min(WIDTH, size - index * WIDTH)
            if index * WIDTH + width > since:
                yield Tile(level, index, width)
        size, since, level = size // WIDTH, since // WIDTH, level + 1


def leaf_tile(leaves: Iterable[bytes]) -> bytes:
    """The level 0 tile of up to 256 consecutive leaf hashes."""
    return _join(leaves)


def parent_tile(children: Iterable[bytes]) -> bytes:
    """The tile over up to 256 consecutive full tiles of the level below."""
    return _join(tree_root(hashes_of(child, WIDTH)) for child in children)


def _join(hashes: Iterable[bytes]) -> bytes:
    data = b"".join(hashes)
    if not data or len(data) % HASH_BYTES or len(data) > WIDTH * HASH_BYTES:
        raise MalformedData(f"a tile has 1 to {WIDTH} hashes of {HASH_BYTES} bytes")
    return data


def hashes_of(data: bytes, width: int) -> tuple[bytes, ...]:
    """The `width` hashes of a tile; raises MalformedData for another length."""
    if len(data) != width * HASH_BYTES:
        raise MalformedData(f"a tile of width {width} has {width * HASH_BYTES} bytes, not {len(data)}")
    return tuple(data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES))


def entry_bundle(entries: Iterable[bytes]) -> bytes:
    """Up to 256 log entries, each after its length in 16 bits; raises MalformedData for an entry too long for that."""
    parts = list(entries)
    if not 1 <= len(parts) <= WIDTH or any(len(part) > 0xFFFF for part in parts):
        raise MalformedData(f"a bundle has 1 to {WIDTH} entries of at most 65535 bytes")
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def entries_of(data: bytes, width: int) -> tuple[bytes, ...]:
    """The `width` entries of a bundle; raises MalformedData when it holds fewer, more, or part of one."""
    entries, at = list[bytes](), 0
    while at < len(data) and len(entries) < width:
        length = int.from_bytes(data[at : at + 2], "big")
        entries.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    if at != len(data) or len(entries) != width:
        raise MalformedData(f"the bundle does not hold exactly {width} entries")
    return tuple(entries)


def root_from_tiles(reader: TileReader, size: int) -> bytes:
    """The root of the first `size` leaves; raises ProofInvalid when a tile is missing, MalformedData when it is bad."""
    return _Tree(reader, size).root(range(size)) if size else EMPTY_ROOT


def proof_from_tiles(reader: TileReader, index: int, size: int) -> tuple[bytes, tuple[bytes, ...]]:
    """Leaf `index` of the tree of `size` and its audit path, each tile read once; raises like `root_from_tiles`."""
    ((leaf, path),) = proofs_from_tiles(reader, (index,), size)
    return leaf, path


def proofs_from_tiles(reader: TileReader, indices: Iterable[int], size: int) -> Iterator[tuple[bytes, tuple[bytes, ...]]]:
    """The same for several leaves of one tree: tiles are read once for all of them, and so are subtrees computed."""
    tree = _Tree(reader, size)
    for index in indices:
        path = tuple(map(tree.root, inclusion_ranges(index, size)))
        yield tree.root(range(index, index + 1)), path


def consistency_from_tiles(reader: TileReader, old_size: int, size: int) -> tuple[bytes, ...]:
    """The proof that the tree of `size` extends that of `old_size`; raises like `root_from_tiles`."""
    tree = _Tree(reader, size)
    return tuple(map(tree.root, consistency_ranges(old_size, size)))


class _Tree:
    """One tree over a reader, for as long as it is asked; each tile is read once, the root of each subtree computed once."""

    def __init__(self, reader: TileReader, size: int) -> None:
        self._reader, self._size = reader, size
        self._seen: dict[tuple[int, int], tuple[bytes, ...]] = {}
        self._roots: dict[tuple[int, int], bytes] = {}

    def root(self, leaves: range) -> bytes:
        """The root over a range of leaves that starts where a subtree of the tree starts."""
        parts, start = list[bytes](), leaves.start
        while start < leaves.stop:
            height = (leaves.stop - start).bit_length() - 1
            parts.append(self._perfect(height, start >> height))
            start += 1 << height
        root = parts.pop()
        while parts:
            root = node_hash(parts.pop(), root)
        return root

    def _perfect(self, height: int, index: int) -> bytes:
        """The root of the `index`-th perfect subtree of 2**height leaves; it lies within one tile."""
        if (height, index) not in self._roots:
            level, above = divmod(height, _HEIGHT)
            tile, first = divmod(index << above, WIDTH)
            self._roots[height, index] = tree_root(self._tile(level, tile)[first : first + (1 << above)])
        return self._roots[height, index]

    def _tile(self, level: int, index: int) -> Sequence[bytes]:
        if (level, index) not in self._seen:
            width = min(WIDTH, (self._size >> _HEIGHT * level) - index * WIDTH)
            self._seen[level, index] = self._read(Tile(level, index, width))
        return self._seen[level, index]

    def _read(self, tile: Tile) -> tuple[bytes, ...]:
        data = self._reader.tile(tile)
        if data is not None:
            return hashes_of(data, tile.width)
        # A log may drop a partial tile once the full one exists.
        data = None if tile.width == WIDTH else self._reader.tile(tile.full)
        if data is None:
            raise ProofInvalid(f"{tile.path} is missing; fetch it from the log and try again")
        return hashes_of(data, WIDTH)[: tile.width]
