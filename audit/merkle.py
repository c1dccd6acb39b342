"""RFC 6962 Merkle trees over leaf hashes: growing, roots, proofs and their verification.

Pure functions over bytes; nothing here knows what a leaf means. The shape of a proof is one thing (which leaves lie
under each of its hashes), where the hashes come from another: whole lists here, tiles in `tiles.py`. Proof order and
shapes are those of RFC 6962 2.1.1 and 2.1.2, verification follows RFC 9162 2.1.3.2 and 2.1.4.2. The verification
functions raise ProofInvalid and never return a verdict that a caller could forget to look at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from audit.errors import ProofInvalid

EMPTY_ROOT = hashlib.sha256(b"").digest()
HASH_BYTES = 32


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class CompactRange:
    """The frontier of a growing tree: the roots of its perfect subtrees, largest first, at most 64 hashes."""

    __slots__ = ("_hashes", "_size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self._size = size
        self._hashes = list(hashes)
        if size < 0 or len(self._hashes) != size.bit_count():
            raise ProofInvalid(f"a tree of {size} leaves has {max(size, 0).bit_count()} subtree roots")
        _check_hashes(self._hashes)

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """Subtree roots, largest subtree first; together with `size` this is the whole state."""
        return tuple(self._hashes)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash at the right edge."""
        _check_hashes((leaf,))
        merges = self._size
        while merges & 1:
            leaf = node_hash(self._hashes.pop(), leaf)
            merges >>= 1
        self._hashes.append(leaf)
        self._size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes in order."""
        for leaf in leaves:
            self.append(leaf)

    def root(self) -> bytes:
        """The Merkle tree hash of all leaves so far."""
        if not self._hashes:
            return EMPTY_ROOT
        right = self._hashes[-1]
        for left in reversed(self._hashes[:-1]):
            right = node_hash(left, right)
        return right

    def copy(self) -> CompactRange:
        """An independent range of the same leaves."""
        return CompactRange(self._size, self._hashes)


def tree_root(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes that are all at hand: level by level, an odd one goes up as it is."""
    level = list(leaves)
    _check_hashes(level)
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = [*map(node_hash, level[::2], level[1::2]), *odd]
    return level[0] if level else EMPTY_ROOT


def _check_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(item) != HASH_BYTES for item in hashes):
        raise ProofInvalid(f"a hash in a tree or proof has {HASH_BYTES} bytes")


def inclusion_ranges(index: int, size: int) -> tuple[range, ...]:
    """The leaves under each hash of the audit path of `index` in a tree of `size`, in the order of the path.

    Raises ProofInvalid for a leaf outside the tree.
    """
    if not 0 <= index < size:
        raise ProofInvalid(f"leaf {index} is not in a tree of {size}")
    path, start, stop = list[range](), 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append(range(middle, stop))
            stop = middle
        else:
            path.append(range(start, middle))
            start = middle
    return tuple(reversed(path))


def consistency_ranges(old_size: int, size: int) -> tuple[range, ...]:
    """The leaves under each hash of the proof that a tree of `size` extends its first `old_size` leaves.

    Empty when all or nothing is old; raises ProofInvalid for an old tree that is larger.
    """
    if not 0 <= old_size <= size:
        raise ProofInvalid(f"a tree of {old_size} is no prefix of a tree of {size}")
    if old_size in (0, size):
        return ()
    path, start, stop = list[range](), 0, size
    while stop != old_size:
        middle = start + _split(stop - start)
        if old_size <= middle:
            path.append(range(middle, stop))
            stop = middle
        else:
            path.append(range(start, middle))
            start = middle
    # Where the walk ends at the left edge the old tree is one perfect subtree, and the verifier has its root (flag b).
    return tuple(reversed(path if start == 0 else [*path, range(start, stop)]))


def _split(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The audit path of leaf `index` in the tree of all `leaves`; raises ProofInvalid outside it."""
    return tuple(tree_root(leaves[part.start : part.stop]) for part in inclusion_ranges(index, len(leaves)))


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> tuple[bytes, ...]:
    """That the tree of the first `old_size` leaves is a prefix of the whole; empty when all or nothing."""
    return tuple(tree_root(leaves[part.start : part.stop]) for part in consistency_ranges(old_size, len(leaves)))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise ProofInvalid unless `proof` places `leaf` at `index` under `root` of a tree of `size`."""
    _check_hashes((leaf, root, *proof))
    if not 0 <= index < size:
        raise ProofInvalid(f"leaf {index} is not in a tree of {size}")
    node, last, current = index, size - 1, leaf
    for step in proof:
        if last == 0:
            raise ProofInvalid("the inclusion proof is too long")
        if node & 1 or node == last:
            current = node_hash(step, current)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            current = node_hash(current, step)
        node, last = node >> 1, last >> 1
    if last or current != root:
        raise ProofInvalid(f"leaf {index} is not under the given root")


def verify_consistency(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Raise ProofInvalid unless the tree under `root` extends the tree under `old_root` by appending only."""
    _check_hashes((old_root, root, *proof))
    if not 0 <= old_size <= size:
        raise ProofInvalid(f"a tree cannot shrink from {old_size} to {size}")
    if old_size in (0, size):
        expected = EMPTY_ROOT if old_size == 0 else root
        if proof or old_root != expected or (size == 0 and root != EMPTY_ROOT):
            raise ProofInvalid("two trees of one size differ, or a trivial proof is not empty")
        return
    _walk_consistency(old_size, old_root, size, root, proof)


def _walk_consistency(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    # An old tree that is one perfect subtree is its own first step; RFC 9162 leaves it out of the proof.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        raise ProofInvalid("the consistency proof is empty")
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for step in path[1:]:
        if last == 0:
            raise ProofInvalid("the consistency proof is too long")
        if node & 1 or node == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, step)
        node, last = node >> 1, last >> 1
    if last or old != old_root or new != root:
        raise ProofInvalid(f"the tree of {size} does not extend the tree of {old_size}")
