"""Laws of the Merkle tree: the public semantics of RFC 6962, and nothing else verifies."""

import hashlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import ProofInvalid
from audit.header import leaf_hash
from audit.merkle import (
    EMPTY_ROOT,
    CompactRange,
    consistency_proof,
    inclusion_proof,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

LIMIT = 64
LEAVES = [leaf_hash(bytes([number])) for number in range(LIMIT)]
PUBLIC_LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
PUBLIC_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def _naive(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + _naive(leaves[:split]) + _naive(leaves[split:])).digest()


def test_public_roots() -> None:
    """Our roots are the ones that Certificate Transparency publishes for its reference leaves."""
    tree = CompactRange()
    assert tree.root() == EMPTY_ROOT == hashlib.sha256(b"").digest()
    for data, root in zip(PUBLIC_LEAVES, PUBLIC_ROOTS, strict=True):
        tree.append(leaf_hash(bytes.fromhex(data)))
        assert tree.root().hex() == root


def test_compact_range_equals_the_definition() -> None:
    """For every size up to 64 the growing tree has the root of the recursive definition."""
    tree = CompactRange()
    for size in range(LIMIT + 1):
        assert tree.root() == _naive(LEAVES[:size]) == tree_root(LEAVES[:size])
        assert CompactRange(tree.size, tree.hashes).root() == tree.root()
        if size < LIMIT:
            tree.append(LEAVES[size])


def _path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962 2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*_path(index, leaves[:split]), _naive(leaves[split:])]
    return [*_path(index - split, leaves[split:]), _naive(leaves[:split])]


def _subproof(old: int, leaves: Sequence[bytes], *, known: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962 2.1.2, word for word."""
    if old == len(leaves):
        return [] if known else [_naive(leaves)]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if old <= split:
        return [*_subproof(old, leaves[:split], known=known), _naive(leaves[split:])]
    return [*_subproof(old - split, leaves[split:], known=False), _naive(leaves[:split])]


def test_proofs_are_those_of_the_definition() -> None:
    """Every inclusion and consistency proof up to 40 leaves has exactly the hashes that RFC 6962 defines, in order."""
    for size in range(1, 41):
        leaves = LEAVES[:size]
        for index in range(size):
            assert list(inclusion_proof(leaves, index)) == _path(index, leaves)
            assert list(consistency_proof(leaves, index + 1)) == _subproof(index + 1, leaves, known=True)


def test_every_inclusion_proof_verifies() -> None:
    """Every leaf of every tree up to 64 leaves is proved, and at no other index."""
    for size in range(1, LIMIT + 1):
        root = tree_root(LEAVES[:size])
        for index in range(size):
            proof = inclusion_proof(LEAVES[:size], index)
            verify_inclusion(LEAVES[index], index, size, proof, root)
            with pytest.raises(ProofInvalid):
                verify_inclusion(LEAVES[index], (index + 1) % LIMIT, size, (*proof, root), root)


def test_every_consistency_proof_verifies() -> None:
    """Every prefix of every tree up to 64 leaves is proved."""
    roots = [tree_root(LEAVES[:size]) for size in range(LIMIT + 1)]
    for size in range(LIMIT + 1):
        for old in range(size + 1):
            proof = consistency_proof(LEAVES[:size], old)
            verify_consistency(old, roots[old], size, roots[size], proof)


@st.composite
def mutations(draw: st.DrawFn, proof: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The proof after at most one change."""
    how = draw(st.sampled_from(["flip", "drop", "add", "swap", "cut"]))
    at = draw(st.integers(0, max(len(proof) - 1, 0)))
    if how == "add" or not proof:
        return (*proof[:at], draw(st.binary(min_size=32, max_size=32)), *proof[at:])
    if how == "drop":
        return (*proof[:at], *proof[at + 1 :])
    if how == "swap":
        return (*proof[:at], *proof[at + 1 :], proof[at])
    if how == "cut":
        return (*proof[:at], proof[at][:-1], *proof[at + 1 :])
    flipped = bytearray(proof[at])
    flipped[draw(st.integers(0, 31))] ^= 1 << draw(st.integers(0, 7))
    return (*proof[:at], bytes(flipped), *proof[at + 1 :])


@given(st.data())
def test_a_mutated_inclusion_proof_fails(data: st.DataObject) -> None:
    """One change anywhere in an inclusion proof and it proves nothing."""
    size = data.draw(st.integers(1, LIMIT))
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(LEAVES[:size], index)
    other = data.draw(mutations(proof))
    if other != proof:
        with pytest.raises(ProofInvalid):
            verify_inclusion(LEAVES[index], index, size, other, tree_root(LEAVES[:size]))


@given(st.data())
def test_a_mutated_consistency_proof_fails(data: st.DataObject) -> None:
    """One change anywhere in a consistency proof, or in a root, and it proves nothing."""
    size = data.draw(st.integers(1, LIMIT))
    old = data.draw(st.integers(0, size))
    old_root, root = tree_root(LEAVES[:old]), tree_root(LEAVES[:size])
    proof = consistency_proof(LEAVES[:size], old)
    other = data.draw(mutations(proof))
    if other != proof:
        with pytest.raises(ProofInvalid):
            verify_consistency(old, old_root, size, root, other)
    with pytest.raises(ProofInvalid):
        verify_consistency(old, LEAVES[0][::-1], size, root, proof)


@pytest.mark.parametrize("case", ["shrink", "same size", "empty", "index", "negative", "short hash", "frontier"])
def test_nonsense_is_refused(case: str) -> None:
    """Shrinking trees, two roots of one size, impossible indices and wrong hash lengths are errors."""
    root, other = tree_root(LEAVES[:3]), tree_root(LEAVES[:2])
    attempts: dict[str, Callable[[], object]] = {
        "shrink": lambda: verify_consistency(3, root, 2, other, ()),
        "same size": lambda: verify_consistency(3, root, 3, other, ()),
        "empty": lambda: verify_consistency(0, root, 3, root, ()),
        "index": lambda: verify_inclusion(LEAVES[0], 3, 3, (), root),
        "negative": lambda: inclusion_proof(LEAVES[:3], -1),
        "short hash": lambda: CompactRange().append(b"x"),
        "frontier": lambda: CompactRange(3, [root]),
    }
    with pytest.raises(ProofInvalid):
        attempts[case]()
