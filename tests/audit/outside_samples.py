"""A log in memory for tests of what leaves the database: headers, leaves, tiles and signed checkpoints."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from audit.header import leaf_hash
from audit.merkle import tree_root
from audit.note import Checkpoint, Scheme, decode_vkey, encode_vkey, sign_checkpoint
from audit.tiles import Tile, leaf_tile, tiles_of
from tests.audit.log_samples import run_of

ORIGIN = "palimpsest.test/acme"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LATTICE = MLDSA44PrivateKey.from_seed_bytes(bytes(range(32)))
VKEY = decode_vkey(encode_vkey(ORIGIN, KEY.public_key().public_bytes_raw()))
LATTICE_VKEY = decode_vkey(encode_vkey(ORIGIN, LATTICE.public_key().public_bytes_raw(), Scheme.ML_DSA_44))


def signed(leaves: Sequence[bytes], origin: str = ORIGIN) -> str:
    """The note of the tree of all `leaves`."""
    return sign_checkpoint(Checkpoint(origin, len(leaves), tree_root(leaves)), KEY)


class SampleLog:
    """A log of `size` real headers; it is a LogSource."""

    def __init__(self, size: int) -> None:
        self.raw = [record.raw for record in run_of(0, size)]
        self.leaves = [leaf_hash(raw) for raw in self.raw]
        self.note: str | None = signed(self.leaves)

    def newest_checkpoint(self) -> str | None:
        """The newest note."""
        return self.note

    def leaf_hashes(self, start: int, stop: int) -> Sequence[bytes]:
        """Leaf hashes of a range."""
        return self.leaves[start:stop]

    def headers(self, start: int, stop: int) -> Sequence[bytes]:
        """Headers of a range."""
        return self.raw[start:stop]


class Shelf:
    """Tiles in a dictionary, computed the slow and obvious way; it is a TileReader and counts what it gives."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.tiles: dict[str, bytes] = {}
        self.given: list[str] = []
        for tile in tiles_of(len(leaves)):
            span = 256**tile.level
            first = tile.index * 256 * span
            starts = range(first, first + tile.width * span, span)
            self.tiles[tile.path] = leaf_tile(tree_root(leaves[start : start + span]) for start in starts)

    def tile(self, tile: Tile) -> bytes | None:
        """The tile, or None."""
        self.given.append(tile.path)
        return self.tiles.get(tile.path)
