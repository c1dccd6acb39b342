"""Laws of tiles: paths and bytes of C2SP tlog-tiles, and proofs that need nothing else."""

import hashlib
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import MalformedData, ProofInvalid
from audit.header import leaf_hash
from audit.merkle import CompactRange, consistency_proof, inclusion_proof, tree_root, verify_consistency, verify_inclusion
from audit.tilelog import TileLog
from audit.tiles import (
    EntryBundle,
    Tile,
    consistency_from_tiles,
    entries_of,
    entry_bundle,
    hashes_of,
    leaf_tile,
    parent_tile,
    parse_path,
    proof_from_tiles,
    root_from_tiles,
    tiles_of,
)
from tests.audit.outside_samples import SampleLog, Shelf, signed

LIMIT = 300
LOG = SampleLog(600)
DOOR = TileLog(LOG)
LEAVES = [leaf_hash(number.to_bytes(4, "big")) for number in range(LIMIT)]
places = st.builds(Tile, st.integers(0, 63), st.integers(0, (1 << 55) - 1), st.integers(1, 256))


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (Tile(0, 1234067), "tile/0/x001/x234/067"), (Tile(0, 0), "tile/0/000"), (Tile(2, 999, 1), "tile/2/999.p/1"),
        (Tile(63, 1000), "tile/63/x001/000"), (EntryBundle(273, 112), "tile/entries/273.p/112"),
        (EntryBundle(70_000), "tile/entries/x070/000"),
    ],
)  # fmt: skip
def test_paths_are_those_of_the_specification(place: Tile | EntryBundle, path: str) -> None:
    """A place is written as the specification writes it, its own example among them, and reads back."""
    assert (place.path, parse_path(path)) == (path, place)


@given(places)
def test_every_path_reads_back(tile: Tile) -> None:
    """A tile's path names that tile, and the same entry bundle under its own word."""
    assert parse_path(tile.path) == tile
    bundle = EntryBundle(tile.index, tile.width)
    assert parse_path(bundle.path) == bundle


@pytest.mark.parametrize(
    "path",
    [
        "", "tile", "tile/0", "tile/0/1", "tile/00/001", "tile/64/001", "tile/0/x000/001", "tile/0/001.p/0",
        "tile/0/001.p/256", "tile/0/001.p/01", "tile/0/001.p/", "tile/-1/001", "tile/0/x001", "tile/0/001/002",
        "/tile/0/001", "tile/0/001/", "tile/entries/x000/000", "tile/0/001?x", "tile/0/\uff10\uff10\uff11",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    ],
)  # fmt: skip
def test_every_other_spelling_is_no_path(path: str) -> None:
    """Needless zeroes, impossible widths and levels, and anything else are refused."""
    with pytest.raises(MalformedData):
        parse_path(path)


@given(st.text(max_size=60) | st.from_regex(r"tile/[0-9]{1,3}/[x0-9/.p]{0,20}", fullmatch=True))
def test_arbitrary_paths_are_read_or_refused_cleanly(path: str) -> None:
    """Whatever is asked for is either the one spelling of a place or MalformedData."""
    try:
        place = parse_path(path)
    except MalformedData:
        assert path == "checkpoint" or DOOR.resource(path) is None
    else:
        assert place.path == path


def test_the_tiles_of_the_specifications_example() -> None:
    """A tree of 70,000 has 273 full tiles and widths 112, 17 and 1 at its edge; one of 256 has a level above."""
    tiles = list(tiles_of(70_000))
    assert sum(tile.level == 0 and tile.width == 256 for tile in tiles) == 273
    assert [tile for tile in tiles if tile.width < 256] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert sum(tile.level == 1 and tile.width == 256 for tile in tiles) == 1
    assert list(tiles_of(256)) == [Tile(0, 0), Tile(1, 0, 1)]


@given(st.integers(0, 200_000), st.integers(0, 70_000))
def test_growth_names_exactly_the_new_tiles(old: int, more: int) -> None:
    """The tiles since an older size are those of the new tree that the old one did not have."""
    before, after = set(tiles_of(old)), set(tiles_of(old + more))
    assert set(tiles_of(old + more, old)) == after - before


def test_tile_proofs_equal_list_proofs() -> None:
    """For every size up to 300 roots, leaves and proofs from tiles are those made from all leaves."""
    chance = random.Random(6962)
    for size in range(1, LIMIT + 1):
        leaves, shelf = LEAVES[:size], Shelf(LEAVES[:size])
        assert root_from_tiles(shelf, size) == tree_root(leaves)
        for index in {0, size // 2, size - 1, chance.randrange(size), 1 << (size - 1).bit_length() - 1 if size > 1 else 0}:
            assert proof_from_tiles(shelf, index, size) == (leaves[index], inclusion_proof(leaves, index))
            assert consistency_from_tiles(shelf, index + 1, size) == consistency_proof(leaves, index + 1)
    assert consistency_from_tiles(Shelf([]), 0, 0) == ()
    assert root_from_tiles(Shelf([]), 0) == hashlib.sha256(b"").digest()


@given(st.data())
def test_tiles_of_a_larger_tree_prove_the_smaller(data: st.DataObject) -> None:
    """Once a tile is full its partial forms may be gone: proofs in an older tree still come out."""
    size = data.draw(st.integers(256, LIMIT))
    old = data.draw(st.integers(1, 256))
    index = data.draw(st.integers(0, old - 1))
    shelf = Shelf(LEAVES[:size])
    assert proof_from_tiles(shelf, index, old) == (LEAVES[index], inclusion_proof(LEAVES[:old], index))
    assert root_from_tiles(shelf, old) == tree_root(LEAVES[:old])


TALL = 70_000
TALL_LEAVES = tuple(leaf_hash(number.to_bytes(4, "big")) for number in range(TALL))


@pytest.fixture(scope="module")
def tall() -> Shelf:
    """The tiles over 70,000 leaves, built level by level from the full tiles below."""
    shelf = Shelf(())
    for tile in tiles_of(TALL):
        first = tile.index * 256
        if tile.level == 0:
            shelf.tiles[tile.path] = leaf_tile(TALL_LEAVES[first : first + tile.width])
        else:
            below = [Tile(tile.level - 1, first + child).path for child in range(tile.width)]
            shelf.tiles[tile.path] = parent_tile([shelf.tiles[path] for path in below])
    return shelf


def test_three_levels_prove_any_record(tall: Shelf) -> None:
    """In a tree of 70,000 proofs verify against the streamed root, and need few tiles and never all leaves."""
    tree = CompactRange()
    tree.extend(TALL_LEAVES[:65_000])
    old_root = tree.root()
    tree.extend(TALL_LEAVES[65_000:])
    for index in (0, 255, 256, 65_535, 65_536, 69_999):
        tall.given.clear()
        leaf, proof = proof_from_tiles(tall, index, TALL)
        assert leaf == TALL_LEAVES[index]
        verify_inclusion(leaf, index, TALL, proof, tree.root())
        assert len(tall.given) <= 6
    proof = consistency_from_tiles(tall, 65_000, TALL)
    verify_consistency(65_000, old_root, TALL, tree.root(), proof)


@given(st.data())
def test_a_changed_tile_proves_nothing(data: st.DataObject) -> None:
    """One flipped bit in a tile that a proof is made from and the proof does not verify."""
    size = data.draw(st.integers(2, LIMIT))
    index = data.draw(st.integers(0, size - 1))
    shelf = Shelf(LEAVES[:size])
    path = Tile(0, index // 256, min(256, size - index // 256 * 256)).path
    changed = bytearray(shelf.tiles[path])
    place = data.draw(st.integers(0, len(changed) - 1))
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    shelf.tiles[path] = bytes(changed)
    leaf, proof = proof_from_tiles(shelf, index, size)
    with pytest.raises(ProofInvalid):
        verify_inclusion(leaf, index, size, proof, tree_root(LEAVES[:size]))


def test_missing_and_misshapen_tiles_are_errors() -> None:
    """A tile that is not there, or not as long as its width says, stops a proof."""
    shelf = Shelf(LEAVES)
    shelf.tiles["tile/0/001.p/44"] = b"x" * 31
    with pytest.raises(MalformedData):
        proof_from_tiles(shelf, 299, LIMIT)
    del shelf.tiles["tile/0/001.p/44"]
    with pytest.raises(ProofInvalid, match="missing"):
        proof_from_tiles(shelf, 299, LIMIT)
    with pytest.raises(ProofInvalid):
        proof_from_tiles(shelf, LIMIT, LIMIT)
    for nonsense in (lambda: Tile(64, 0), lambda: Tile(0, 0, 0), lambda: Tile(0, -1), lambda: EntryBundle(0, 257)):
        with pytest.raises(MalformedData):
            nonsense()
    for bad in ([], [b"short"], [bytes(32)] * 257):
        with pytest.raises(MalformedData):
            leaf_tile(bad)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundles_read_back(entries: list[bytes]) -> None:
    """Entries survive their bundle, and a bundle of another width, or cut or extended, is refused."""
    data = entry_bundle(entries)
    assert list(entries_of(data, len(entries))) == entries
    for changed, width in ((data, len(entries) + 1), (data[:-1], len(entries)), (data + b"\x00", len(entries))):
        with pytest.raises(MalformedData):
            entries_of(changed, width)


@given(st.binary(max_size=400), st.integers(1, 256))
def test_arbitrary_bundles_are_refused_cleanly(data: bytes, width: int) -> None:
    """Garbage is MalformedData, unless it happens to be the bundle of what was read from it."""
    try:
        entries = entries_of(data, width)
    except MalformedData:
        return
    assert len(entries) == width and entry_bundle(entries) == data


def test_an_entry_has_at_most_65535_bytes() -> None:
    """The length prefix has 16 bits, and nothing longer is put behind it."""
    assert entry_bundle([bytes(65_535)])[:2] == b"\xff\xff"
    for bad in ([bytes(65_536)], [], [b""] * 257):
        with pytest.raises(MalformedData):
            entry_bundle(bad)


def test_the_door_serves_a_whole_log() -> None:
    """From the door's resources alone the signed root, and every header's leaf, can be computed."""
    log, door = LOG, TileLog(LOG)
    assert log.note is not None
    assert door.resource("checkpoint") == log.note.encode()
    for tile in tiles_of(600):
        assert door.resource(tile.path) == Shelf(log.leaves).tile(tile)
    assert root_from_tiles(door, 600) == tree_root(log.leaves)
    for bundle in (EntryBundle(0), EntryBundle(1), EntryBundle(2, 88)):
        data, hashes = door.resource(bundle.path), door.resource(Tile(0, bundle.index, bundle.width).path)
        assert data is not None and hashes is not None
        entries = entries_of(data, bundle.width)
        assert tuple(map(leaf_hash, entries)) == hashes_of(hashes, bundle.width)


@pytest.mark.parametrize(
    "path",
    [
        "", "checkpoint/", "tile/0/002", "tile/0/002.p/89", "tile/1/000", "tile/1/000.p/3", "tile/2/000.p/1",
        "tile/entries/002", "tile/entries/002.p/89", "tile/0/x001/000", "../checkpoint", "tile/63/000.p/1",
    ],
)  # fmt: skip
def test_the_door_shows_nothing_beyond_the_checkpoint(path: str) -> None:
    """What the signed tree does not have, and what is no resource, is not there."""
    assert DOOR.resource(path) is None


def test_the_door_follows_the_log() -> None:
    """An empty log has nothing; each new checkpoint makes more visible, across a completed upper tile too."""
    log = SampleLog(300)
    door = TileLog(log)
    log.note = None
    assert door.resource("checkpoint") is None
    assert door.resource("tile/0/000.p/1") is None
    for size in (100, 256, 300):
        log.note = signed(log.leaves[:size])
        assert root_from_tiles(door, size) == tree_root(log.leaves[:size])
        assert (door.resource("tile/1/000.p/1") is not None) == (size >= 256)


def test_upper_levels_complete_one_another(tall: Shelf) -> None:
    """After 65,536 leaves the door has a full tile of level 1 and a hash of level 2, as built from tiles below."""
    log = SampleLog(0)
    log.leaves = list(TALL_LEAVES)
    log.note = signed(log.leaves)
    door = TileLog(log)
    for path in ("tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"):
        assert door.resource(path) == tall.tiles[path]


def test_a_log_that_lacks_signed_leaves_is_an_error() -> None:
    """A database that lost records under a checkpoint is reported, not served as if nothing were missing."""
    log = SampleLog(300)
    door = TileLog(log)
    del log.leaves[200:], log.raw[200:]
    for path in ("tile/0/000", "tile/1/000.p/1", "tile/entries/000"):
        with pytest.raises(MalformedData, match="checkpoint covers"):
            door.resource(path)


def test_golden_tile() -> None:
    """The published tile of five leaves has the published bytes."""
    golden = json.loads((Path(__file__).parent / "vectors" / "tile.json").read_text())
    leaves = [leaf_hash(bytes([number])) for number in range(5)]
    assert {"path": Tile(0, 0, 5).path, "tile": leaf_tile(leaves).hex(), "root": tree_root(leaves).hex()} == golden
