"""Laws of the quorum: enough witnesses have seen a checkpoint, or it does not open."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.errors import NoteInvalid
from audit.note import Scheme, cosignature_line, decode_vkey, encode_vkey
from audit.quorum import Quorum, open_cosigned
from tests.audit.outside_samples import KEY, LATTICE, LATTICE_VKEY, ORIGIN, VKEY, signed
from tests.audit.witness_samples import LEAVES, cosigner


def test_a_quorum_counts_witnesses_and_not_keys() -> None:
    """Two keys of one witness are one witness; k distinct names of n are needed and enough."""
    note = signed(LEAVES)
    text = note.split("\n\n")[0] + "\n"
    seeds = {name: Ed25519PrivateKey.generate() for name in ("w1", "w2", "w3")}
    keys = [
        decode_vkey(encode_vkey(name, key.public_key().public_bytes_raw(), Scheme.COSIGNATURE)) for name, key in seeds.items()
    ]
    second = decode_vkey(encode_vkey("w1", LATTICE.public_key().public_bytes_raw(), Scheme.ML_DSA_44))
    quorum = Quorum(2, (*keys, second))
    twice = note + cosignature_line(text, "w1", seeds["w1"], 5) + cosignature_line(text, "w1", LATTICE, 5)
    with pytest.raises(NoteInvalid, match="1 of 2"):
        open_cosigned(twice, [VKEY], ORIGIN, quorum)
    assert len(open_cosigned(twice + cosignature_line(text, "w3", seeds["w3"], 6), [VKEY], ORIGIN, quorum).witnesses) == 3
    with pytest.raises(NoteInvalid, match="1 of 2"):
        open_cosigned(twice + cosignature_line(text, "w3", seeds["w3"], 0), [VKEY], ORIGIN, quorum)
    with pytest.raises(NoteInvalid, match="wrong"):
        open_cosigned(twice + cosignature_line(text + "x\n", "w3", seeds["w3"], 6), [VKEY], ORIGIN, quorum)


def test_an_impossible_quorum_is_refused() -> None:
    """No witness, more than there are, a log key in the place of a witness key, and one key for both are refused."""
    witness = cosigner("w", KEY)
    for required, keys in ((0, (witness,)), (2, (witness,)), (1, (VKEY,)), (1, ())):
        with pytest.raises(NoteInvalid):
            Quorum(required, keys)
    with pytest.raises(NoteInvalid, match="cannot speak"):
        open_cosigned(signed(LEAVES), [witness], ORIGIN, Quorum(1, (witness,)))


def test_one_key_is_one_witness_under_whatever_name() -> None:
    """Two names over the same public key are refused, and so is the log's own key under the name of a witness."""
    for key in (KEY, LATTICE):
        scheme = Scheme.ML_DSA_44 if key is LATTICE else Scheme.COSIGNATURE
        first, second = (decode_vkey(encode_vkey(name, key.public_key().public_bytes_raw(), scheme)) for name in ("w1", "w2"))
        with pytest.raises(NoteInvalid, match="one key"):
            Quorum(2, (first, second))
        for log in (VKEY, LATTICE_VKEY):
            if log.public == first.public:
                with pytest.raises(NoteInvalid, match="cannot speak"):
                    Quorum(1, (first,)).require_others([log])
