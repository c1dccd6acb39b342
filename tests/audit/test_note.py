"""Laws of signed notes and checkpoints."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import NoteInvalid
from audit.note import (
    Checkpoint,
    check_name,
    decode_vkey,
    encode_vkey,
    open_checkpoint,
    open_note,
    sign_checkpoint,
    sign_note,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))
ORIGIN = "palimpsest.test/acme"
VKEY = encode_vkey(ORIGIN, KEY.public_key().public_bytes_raw())
POINT = Checkpoint(ORIGIN, 5, bytes(range(32)))
NOTE = sign_checkpoint(POINT, KEY)

PUBLIC_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PUBLIC_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvq"
    "fqdngotpRZb6KE6RyyBwJnAM=\n"
)  # fmt: skip


def test_the_public_example_verifies() -> None:
    """The example note of Go's note package, made by another implementation, opens under its key."""
    assert open_note(PUBLIC_NOTE, [decode_vkey(PUBLIC_VKEY)]).startswith("If you think")


def test_golden_note() -> None:
    """The published key, checkpoint and note have the published characters."""
    golden = json.loads((Path(__file__).parent / "vectors" / "note.json").read_text())
    assert (golden["vkey"], golden["note"]) == (VKEY, NOTE)


def test_a_checkpoint_opens_under_its_key_and_origin() -> None:
    """What was signed is what is read."""
    assert open_checkpoint(NOTE, [decode_vkey(VKEY)], ORIGIN) == POINT


def test_strangers_are_ignored_but_do_not_count() -> None:
    """A cosignature under an unknown key changes nothing; alone it is no signature."""
    line = sign_note(POINT.text(), "witness", STRANGER).split("\n\n")[1]
    assert open_checkpoint(NOTE + line, [decode_vkey(VKEY)], ORIGIN) == POINT
    with pytest.raises(NoteInvalid):
        open_checkpoint(f"{POINT.text()}\n{line}", [decode_vkey(VKEY)], ORIGIN)


def test_another_log_of_the_same_key_is_refused() -> None:
    """The origin is the one the caller pinned, whatever the note says."""
    other = sign_note(Checkpoint("other", 5, bytes(32)).text(), ORIGIN, KEY)
    with pytest.raises(NoteInvalid, match="not of"):
        open_checkpoint(other, [decode_vkey(VKEY)], ORIGIN)


@given(st.data())
def test_any_changed_character_is_refused(data: st.DataObject) -> None:
    """One changed byte anywhere in a signed checkpoint and it does not open."""
    raw = bytearray(NOTE.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 6))
    changed = raw.decode("utf-8", "replace")
    with pytest.raises(NoteInvalid):
        open_checkpoint(changed, [decode_vkey(VKEY)], ORIGIN)


@given(st.text(max_size=200))
def test_arbitrary_text_is_refused_cleanly(text: str) -> None:
    """Garbage raises the one error and nothing else."""
    with pytest.raises(NoteInvalid):
        open_checkpoint(text, [decode_vkey(VKEY)], ORIGIN)
    with pytest.raises(NoteInvalid):
        decode_vkey(text)


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n05\n{POINT.text().split()[2]}\n", f"{ORIGIN}\n-1\n{POINT.text().split()[2]}\n",
        f"{ORIGIN}\n5\nAAAA\n", f"{POINT.text()}extension\n", f"{ORIGIN}\n5\n", f"{ORIGIN}\n5\n{'A' * 43}\n",
    ],
)  # fmt: skip
def test_validly_signed_nonsense_is_refused(text: str) -> None:
    """A signature does not excuse another spelling of a checkpoint."""
    with pytest.raises(NoteInvalid):
        open_checkpoint(sign_note(text, ORIGIN, KEY), [decode_vkey(VKEY)], ORIGIN)


def test_repeated_signatures_are_refused() -> None:
    """One key signs a note once, and a note has a bounded number of signatures."""
    line = NOTE.split("\n\n")[1]
    with pytest.raises(NoteInvalid):
        open_note(NOTE + line, [decode_vkey(VKEY)])
    with pytest.raises(NoteInvalid, match="at most"):
        open_note(NOTE + line * 20, [decode_vkey(VKEY)])


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "x" * 256])
def test_bad_names_are_refused(name: str) -> None:
    """A log's name has no spaces, plus signs or control characters."""
    with pytest.raises(NoteInvalid):
        check_name(name)


def test_a_verifier_key_must_match_its_hash() -> None:
    """A mistyped verifier key is noticed before it is used."""
    name, digest, key = VKEY.split("+", 2)
    for other in (
        f"other+{digest}+{key}",
        f"{name}+00000000+{key}",
        f"{name}+{digest}",
        f"{name}+{digest}+AAAA",
    ):
        with pytest.raises(NoteInvalid):
            decode_vkey(other)
