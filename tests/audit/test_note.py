"""Laws of signed notes and checkpoints."""

import base64
import json
import struct
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import NoteInvalid
from audit.note import (
    Checkpoint,
    Scheme,
    check_name,
    cosignature_line,
    decode_vkey,
    encode_vkey,
    open_checkpoint,
    open_note,
    parse_checkpoint,
    sign_checkpoint,
    sign_note,
    split_note,
    verify_note,
)
from tests.audit.outside_samples import LATTICE, LATTICE_VKEY

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))
ORIGIN = "palimpsest.test/acme"
LOG_SCHEMES = (Scheme.ED25519, Scheme.ML_DSA_44)
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


BOTH = sign_checkpoint(POINT, KEY, LATTICE)
COSIGNER = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"


def _stamp(raw: str, line: int) -> bytes:
    """The decoded bytes of a signature line."""
    return base64.b64decode(raw.split("\n\n")[1].split("\n")[line].split(" ")[2])


def test_a_foreign_ml_dsa_checkpoint_verifies() -> None:
    """A checkpoint that another implementation signed with ML-DSA-44 opens under that log's key."""
    foreign = json.loads((Path(__file__).parent / "vectors" / "mldsa.json").read_text())
    key = decode_vkey(foreign["vkey"])
    assert (key.scheme, str(key)) == (Scheme.ML_DSA_44, foreign["vkey"])
    assert open_checkpoint(foreign["note"], [key], "example.com/mldsa-log").size == 1
    with pytest.raises(NoteInvalid, match="wrong"):
        open_checkpoint(foreign["note"].replace("\n1\n", "\n2\n"), [key], "example.com/mldsa-log")


def test_a_foreign_cosignature_key_reads() -> None:
    """The published key of a public witness, type 0x04, is known by its own hash."""
    key = decode_vkey(COSIGNER)
    assert (key.scheme, key.name, str(key)) == (Scheme.COSIGNATURE, "remora.n621.de", COSIGNER)


def test_ml_dsa_signs_the_bytes_of_the_specification() -> None:
    """A log's ML-DSA-44 line is key id, time 0 and a signature over cosigned_message as tlog-cosignature lays it out."""
    stamp = _stamp(BOTH, 1)
    name = ORIGIN.encode()
    message = b"".join((
        b"subtree/v1\n\x00", bytes([len(name)]), name, bytes(8), bytes([len(name)]), name,
        struct.pack(">QQ", 0, POINT.size), POINT.root,
    ))  # fmt: skip
    assert stamp[:12] == LATTICE_VKEY.key_id + bytes(8)
    LATTICE.public_key().verify(stamp[12:], message)
    with pytest.raises(InvalidSignature):
        LATTICE.public_key().verify(stamp[12:], message[:-1] + b"x")


def test_ed25519_cosigns_the_bytes_of_the_specification() -> None:
    """A cosignature/v1 line is key id, time and a signature over header, time line and the whole note text."""
    line = cosignature_line(POINT.text(), "witness.example/w1", KEY, 1_679_315_147)
    stamp = base64.b64decode(line.split(" ")[2])
    assert stamp[4:12] == (1_679_315_147).to_bytes(8, "big")
    KEY.public_key().verify(stamp[12:], f"cosignature/v1\ntime 1679315147\n{POINT.text()}".encode())


def test_either_key_opens_and_both_can_be_demanded() -> None:
    """A note signed with two algorithms opens under each key alone and meets a demand for both."""
    keys = [decode_vkey(VKEY), LATTICE_VKEY]
    for key in keys:
        assert open_checkpoint(BOTH, [key], ORIGIN) == POINT
    assert open_checkpoint(BOTH, keys, ORIGIN, LOG_SCHEMES) == POINT
    for single in (NOTE, sign_checkpoint(POINT, LATTICE)):
        assert open_checkpoint(single, keys, ORIGIN) == POINT
        with pytest.raises(NoteInvalid, match="key that was given has signed"):
            open_checkpoint(single, keys, ORIGIN, LOG_SCHEMES)


def test_ml_dsa_never_vouches_for_extension_lines() -> None:
    """What an ML-DSA-44 signature does not cover is not accepted under it."""
    line = sign_checkpoint(POINT, LATTICE).split("\n\n")[1]
    with pytest.raises(NoteInvalid, match="extension"):
        open_note(f"{POINT.text()}more\n\n{line}", [LATTICE_VKEY])


@given(st.data())
def test_any_changed_character_of_two_signatures_is_refused(data: st.DataObject) -> None:
    """One changed byte anywhere in a note that both keys must have signed and it does not open."""
    raw = bytearray(BOTH.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 6))
    with pytest.raises(NoteInvalid):
        open_checkpoint(raw.decode("utf-8", "replace"), [decode_vkey(VKEY), LATTICE_VKEY], ORIGIN, LOG_SCHEMES)


def test_one_key_under_two_schemes_is_two_keys() -> None:
    """A plain signature is no cosignature, nor the reverse, although the key is the same."""
    cosigner = decode_vkey(encode_vkey(ORIGIN, KEY.public_key().public_bytes_raw(), Scheme.COSIGNATURE))
    line = cosignature_line(POINT.text(), ORIGIN, KEY, 7)
    cosigned = split_note(f"{POINT.text()}\n{line}")
    assert [signature.seconds for signature in verify_note(cosigned, [cosigner, decode_vkey(VKEY)])] == [7]
    with pytest.raises(NoteInvalid):
        open_checkpoint(NOTE, [cosigner], ORIGIN)


@pytest.mark.parametrize("name", ["\u00e9" * 128, "x" * 255])
def test_an_ml_dsa_name_takes_at_most_255_bytes(name: str) -> None:
    """A name that the message cannot hold is refused when signing, one that just fits is not."""
    if len(name.encode()) > 255:
        with pytest.raises(NoteInvalid, match="255"):
            sign_checkpoint(Checkpoint(name, 1, bytes(32)), LATTICE)
    else:
        key = decode_vkey(encode_vkey(name, LATTICE.public_key().public_bytes_raw(), Scheme.ML_DSA_44))
        assert open_checkpoint(sign_checkpoint(Checkpoint(name, 1, bytes(32)), LATTICE), [key], name).size == 1


def test_a_note_is_put_together_as_it_was() -> None:
    """Taking a note apart and putting it together gives the same characters."""
    assert split_note(BOTH).raw() == BOTH


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_has_one_spelling(size: int, root: bytes) -> None:
    """Every checkpoint reads as it was written."""
    assert parse_checkpoint(Checkpoint(ORIGIN, size, root).text()) == Checkpoint(ORIGIN, size, root)


@given(st.binary(max_size=1400))
def test_arbitrary_keys_are_refused_cleanly(raw: bytes) -> None:
    """Garbage after any type byte is no key, and never anything but NoteInvalid."""
    with pytest.raises(NoteInvalid):
        decode_vkey(f"name+00000000+{base64.b64encode(raw).decode()}")
