"""A log's signer never contradicts itself, signs with two algorithms, and changes its keys without losing the past."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audit.errors import KeyUnavailable, NoteInvalid, SigningRefused
from audit.header import leaf_hash
from audit.merkle import tree_root
from audit.note import Checkpoint, Scheme, decode_vkey, open_checkpoint
from audit.signer import ED25519_FILE, Signer, signer_folder

ORIGIN = "palimpsest.test/acme"
BOTH = (Scheme.ED25519, Scheme.ML_DSA_44)
LEAVES = [leaf_hash(bytes([number])) for number in range(20)]


def _sign(signer: Signer, size: int) -> str:
    return signer.sign(size, tree_root(LEAVES[:size]), LEAVES[:size])


def _opened(note: str, *vkeys: str) -> Checkpoint:
    """The checkpoint of a note that bears, under these keys, a signature of each of their schemes."""
    keys = [decode_vkey(vkey) for vkey in vkeys]
    return open_checkpoint(note, keys, ORIGIN, {key.scheme for key in keys})


def test_a_signer_signs_growing_trees(tmp_path: Path) -> None:
    """Each checkpoint opens under the signer's key, and the newest is remembered over a restart."""
    signer = Signer(tmp_path, ORIGIN)
    for size in (0, 1, 1, 5, 20):
        checkpoint = open_checkpoint(_sign(signer, size), [decode_vkey(signer.vkey)], ORIGIN)
        assert (checkpoint.size, checkpoint.root) == (size, tree_root(LEAVES[:size]))
    again = Signer(tmp_path, ORIGIN)
    assert (again.size, again.root, again.vkey) == (20, tree_root(LEAVES), signer.vkey)


def test_a_signer_never_goes_back(tmp_path: Path) -> None:
    """A smaller tree is refused, also by a fresh signer or one that another process overtook."""
    first, second = Signer(tmp_path, ORIGIN), Signer(tmp_path, ORIGIN)
    _sign(first, 9)
    for signer in (first, second, Signer(tmp_path, ORIGIN)):
        with pytest.raises(SigningRefused, match="back in time"):
            _sign(signer, 8)


def test_a_signer_never_signs_two_histories(tmp_path: Path) -> None:
    """A tree that does not extend the signed one is refused, and the state stays as it was."""
    signer = Signer(tmp_path, ORIGIN)
    _sign(signer, 4)
    rewritten = [LEAVES[7], *LEAVES[1:6]]
    for size, leaves in ((4, rewritten), (6, rewritten), (6, LEAVES[:5]), (6, [])):
        with pytest.raises(SigningRefused):
            signer.sign(size, tree_root(rewritten[:size]), leaves)
    assert (Signer(tmp_path, ORIGIN).size, signer.root) == (4, tree_root(LEAVES[:4]))


def test_only_new_leaves_are_needed(tmp_path: Path) -> None:
    """The leaves since the last signed tree are enough to grow it."""
    signer = Signer(tmp_path, ORIGIN)
    _sign(signer, 7)
    signer.sign(12, tree_root(LEAVES[:12]), LEAVES[7:12])
    assert signer.size == 12


@pytest.mark.parametrize("change", [{"size": 3}, {"root": "00"}, {"hashes": []}, {"size": "4"}])
def test_a_damaged_state_stops_the_signer(tmp_path: Path, change: dict[str, object]) -> None:
    """A state file that contradicts itself is not signed upon."""
    _sign(Signer(tmp_path, ORIGIN), 4)
    (state,) = tmp_path.rglob("state.json")
    state.write_text(json.dumps({**json.loads(state.read_text()), **change}))
    with pytest.raises(KeyUnavailable):
        Signer(tmp_path, ORIGIN)


@pytest.mark.parametrize("name", [ED25519_FILE, "mldsa44.key"])
def test_a_lost_signing_key_is_not_replaced(tmp_path: Path, name: str) -> None:
    """A key that is gone or cut short, beside a state that it signed, is an error and not a new identity."""
    _sign(Signer(tmp_path, ORIGIN), 4)
    key = signer_folder(tmp_path, ORIGIN) / name
    key.write_bytes(b"short")
    with pytest.raises(KeyUnavailable):
        Signer(tmp_path, ORIGIN)
    key.unlink()
    with pytest.raises(KeyUnavailable):
        Signer(tmp_path, ORIGIN)


def test_every_checkpoint_bears_two_signatures(tmp_path: Path) -> None:
    """A note opens under the Ed25519 key alone, under the ML-DSA-44 key alone, and where both are demanded."""
    signer = Signer(tmp_path, ORIGIN)
    point, (classic, lattice) = Checkpoint(ORIGIN, 5, tree_root(LEAVES[:5])), signer.vkeys
    note = _sign(signer, 5)
    assert [decode_vkey(vkey).scheme for vkey in signer.vkeys] == list(BOTH) and signer.vkey == classic
    assert _opened(note, classic) == _opened(note, lattice) == _opened(note, classic, lattice) == point
    assert Signer(tmp_path, ORIGIN).vkeys == signer.vkeys


def test_a_log_from_before_gets_its_second_key(tmp_path: Path) -> None:
    """A folder that holds only an Ed25519 key and a state goes on under that key, and signs with ML-DSA-44 from now on."""
    first = Signer(tmp_path, ORIGIN)
    _sign(first, 4)
    for name in ("mldsa44.key", "public.json"):
        (signer_folder(tmp_path, ORIGIN) / name).unlink()
    second = Signer(tmp_path, ORIGIN)
    assert (second.vkey, second.size, second.former) == (first.vkey, 4, ())
    assert _opened(_sign(second, 6), *second.vkeys).size == 6


def test_rotation_keeps_the_past_checkable(tmp_path: Path) -> None:
    """After a rotation new keys sign, in a process that ran before too; the old ones are known and prove what they signed."""
    signer, running = Signer(tmp_path, ORIGIN), Signer(tmp_path, ORIGIN)
    old, before = signer.vkeys, _sign(signer, 4)
    signer.rotate()
    after = _sign(running, 6)
    assert running.vkeys == signer.vkeys and not set(old) & set(signer.vkeys)
    assert Signer(tmp_path, ORIGIN).former == old
    assert (_opened(before, *old).size, _opened(after, *signer.vkeys).size) == (4, 6)
    with pytest.raises(NoteInvalid):
        _opened(after, *old)


@pytest.mark.parametrize("name", [ED25519_FILE, "mldsa44.key"])
def test_half_a_rotation_is_no_loss(tmp_path: Path, name: str) -> None:
    """A process that died between two new keys leaves one new and one old, and the next signature says so."""
    signer = Signer(tmp_path, ORIGIN)
    _sign(signer, 4)
    (signer_folder(tmp_path, ORIGIN) / name).write_bytes(bytes(32))
    half = Signer(tmp_path, ORIGIN)
    assert len(set(half.vkeys) & set(signer.vkeys)) == 1 and len(half.former) == 1
    assert _opened(_sign(half, 6), *half.vkeys).size == 6


@pytest.mark.parametrize("content", ["{}", '["x"]', "", "[1]"])
def test_a_damaged_list_of_keys_stops_the_signer(tmp_path: Path, content: str) -> None:
    """A list of former keys that cannot be read is not begun anew: it is the memory of what must not be lost."""
    Signer(tmp_path, ORIGIN)
    (signer_folder(tmp_path, ORIGIN) / "public.json").write_text(content)
    with pytest.raises(KeyUnavailable):
        Signer(tmp_path, ORIGIN)
