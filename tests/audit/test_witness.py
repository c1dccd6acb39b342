"""Laws of the witness: it cosigns one history of a log and no other, also across restarts."""

import threading
from http import HTTPStatus
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.errors import KeyUnavailable, NoteInvalid
from audit.merkle import EMPTY_ROOT, tree_root
from audit.note import Checkpoint, Scheme, cosignature_line, sign_checkpoint, split_note, verify_note
from audit.witness import MAX_REQUEST_BYTES, Submission, Witness, read_submission, write_submission
from tests.audit.outside_samples import KEY, LATTICE, LATTICE_VKEY, ORIGIN, VKEY, signed
from tests.audit.witness_samples import FORK, LEAVES, NAME, body_of, keys_of, new_witness


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    """A witness that has seen nothing."""
    return new_witness(tmp_path / "w")


def test_a_growing_log_is_cosigned_by_both_keys(witness: Witness) -> None:
    """Each extension of the last tree gets an Ed25519 and an ML-DSA-44 cosignature with the time of signing."""
    old = 0
    for size in (1, 1, 7, 8, 40):
        reply = witness.add_checkpoint(body_of(old, size))
        assert (reply.status, reply.content_type) == (HTTPStatus.OK, "text/plain; charset=utf-8")
        note = split_note(signed(LEAVES[:size]) + reply.body)
        found = verify_note(note, keys_of(witness))
        assert [(each.key.scheme, each.seconds) for each in found] == [
            (Scheme.COSIGNATURE, 1_700_000_000), (Scheme.ML_DSA_44, 1_700_000_000),
        ]  # fmt: skip
        old = size


def test_each_refusal_has_its_status(witness: Witness) -> None:
    """404 unknown log, 403 no valid signature of it, 400 nonsense, 409 another state, 422 a proof that proves nothing."""
    stranger = Ed25519PrivateKey.from_private_bytes(bytes(32))
    point = Checkpoint(ORIGIN, 5, tree_root(LEAVES[:5]))
    foreign = sign_checkpoint(Checkpoint("other.test/log", 5, point.root), KEY)
    wrong = signed(LEAVES[:5]).replace(signed(LEAVES[:5]).split("\n")[2], signed(LEAVES[:6]).split("\n")[2])
    assert witness.add_checkpoint(write_submission(Submission(0, (), foreign))).status == 404
    assert witness.add_checkpoint(write_submission(Submission(0, (), sign_checkpoint(point, stranger)))).status == 403
    assert witness.add_checkpoint(write_submission(Submission(0, (), wrong))).status == 403
    assert witness.add_checkpoint(write_submission(Submission(6, (), signed(LEAVES[:5])))).status == 400
    assert witness.add_checkpoint(b"old 0\n\nnonsense").status == 400
    assert witness.add_checkpoint(write_submission(Submission(0, (bytes(32),), signed(LEAVES[:5])))).status == 422
    assert witness.add_checkpoint(body_of(0, 5)).status == 200
    assert witness.add_checkpoint(write_submission(Submission(5, (bytes(32),), signed(LEAVES[:5])))).status == 422
    assert witness.add_checkpoint(write_submission(Submission(5, (), signed(LEAVES[:9])))).status == 422
    conflict = witness.add_checkpoint(body_of(0, 9))
    assert (conflict.status, conflict.body, conflict.content_type) == (409, "5\n", "text/x.tlog.size")
    assert witness.add_checkpoint(body_of(5, 5, FORK)).status == 409
    assert witness.add_checkpoint(body_of(5, 9)).status == 200


def test_no_second_history_is_ever_cosigned(witness: Witness) -> None:
    """After one tree was cosigned no request for a forked log succeeds, whatever size and proof it claims."""
    assert witness.add_checkpoint(body_of(0, 13)).status == 200
    for size in range(1, 41):
        for old in {0, 13, size}:
            if old <= size:
                assert witness.add_checkpoint(body_of(old, size, FORK)).status in {409, 422}
    assert witness.add_checkpoint(body_of(13, 14)).status == 200


def test_an_empty_tree_can_be_cosigned_and_grows(witness: Witness) -> None:
    """The checkpoint of no records counts if it has the empty root, and only then."""
    empty = sign_checkpoint(Checkpoint(ORIGIN, 0, EMPTY_ROOT), KEY)
    other = sign_checkpoint(Checkpoint(ORIGIN, 0, bytes(32)), KEY)
    assert witness.add_checkpoint(write_submission(Submission(0, (), other))).status == 409
    assert witness.add_checkpoint(write_submission(Submission(0, (), empty))).status == 200
    assert witness.add_checkpoint(body_of(0, 3)).status == 200


def test_what_was_seen_survives_a_restart(tmp_path: Path) -> None:
    """A new process with the same folder has the same keys and refuses what the old one would have refused."""
    first = Witness(tmp_path, NAME, [VKEY])
    assert first.add_checkpoint(body_of(0, 20)).status == 200
    second = Witness(tmp_path, NAME, [VKEY])
    assert second.vkeys == first.vkeys
    assert second.add_checkpoint(body_of(0, 21, FORK)).body == "20\n"
    assert second.add_checkpoint(body_of(20, 21)).status == 200
    assert first.add_checkpoint(body_of(20, 22)).status == 409


def test_a_damaged_folder_is_never_guessed_at(tmp_path: Path) -> None:
    """A state or key file that does not read stops the witness instead of starting it afresh."""
    witness = Witness(tmp_path, NAME, [VKEY])
    assert witness.add_checkpoint(body_of(0, 20)).status == 200
    (state,) = (tmp_path / "logs").glob("*.json")
    for damage in (b"", b"[]", b"{}", b'{"note": 1}', b'{"note": "x"}', state.read_bytes().replace(b"acme", b"acmf")):
        state.write_bytes(damage)
        with pytest.raises(KeyUnavailable):
            witness.add_checkpoint(body_of(20, 21))
    (tmp_path / "mldsa44.key").write_bytes(b"short")
    with pytest.raises(KeyUnavailable):
        Witness(tmp_path, NAME, [VKEY])


def test_a_foreign_log_with_extension_lines_is_cosigned(witness: Witness) -> None:
    """Extension lines are covered by the Ed25519 cosignature; ML-DSA-44 does not cover them and stays away."""
    text = f"{ORIGIN}\n0\n{sign_checkpoint(Checkpoint(ORIGIN, 0, EMPTY_ROOT), KEY).split(chr(10))[2]}\nmore\n"
    stamp = VKEY.key_id + KEY.sign(text.encode())
    note = split_note(sign_checkpoint(Checkpoint(ORIGIN, 0, EMPTY_ROOT), KEY))
    raw = type(note)(text, ((ORIGIN, stamp),)).raw()
    reply = witness.add_checkpoint(write_submission(Submission(0, (), raw)))
    assert (reply.status, reply.body.count("\u2014")) == (200, 1)
    (seen,) = verify_note(split_note(raw + reply.body), keys_of(witness))
    assert seen.key.scheme is Scheme.COSIGNATURE


def test_a_log_with_two_keys_may_use_either(tmp_path: Path) -> None:
    """Several keys of one origin are alternatives, ML-DSA-44 among them, and strangers' lines are ignored."""
    witness = Witness(tmp_path, NAME, [VKEY, LATTICE_VKEY])
    point = Checkpoint(ORIGIN, 4, tree_root(LEAVES[:4]))
    alone = sign_checkpoint(point, LATTICE)
    assert witness.add_checkpoint(write_submission(Submission(0, (), alone))).status == 200
    line = cosignature_line(point.text(), "stranger", KEY, 5)
    assert witness.add_checkpoint(write_submission(Submission(4, (), alone + line))).status == 200


@settings(max_examples=150)
@given(st.binary(max_size=300) | st.binary(max_size=120).map(lambda tail: b"old 0\n" + tail))
def test_arbitrary_requests_are_refused_cleanly(body: bytes) -> None:
    """Garbage is NoteInvalid, or reads as a request that is written back byte for byte."""
    try:
        asked = read_submission(body)
    except NoteInvalid:
        return
    assert write_submission(asked) == body


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_a_mutated_request_is_never_cosigned(witness: Witness, data: st.DataObject) -> None:
    """One changed byte anywhere in a request that needs its proof, and no cosignature is given."""
    witness.add_checkpoint(body_of(0, 13))
    raw = bytearray(body_of(13, 27))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert witness.add_checkpoint(bytes(raw)).status in {400, 403, 404, 409, 422}


@pytest.mark.parametrize(
    "body",
    [
        b"old 00\n\n", b"old -1\n\n", b"old 9223372036854775808\n\n", b"old 1\nAAAA\n\n", b"old 1\n" + b"A" * 43 + b"=\n" * 70,
        b"old 1\n" + (b"A" * 43 + b"=\n") * 64 + b"\n", b"new 1\n\n", b"\xff", b"x" * (MAX_REQUEST_BYTES + 1), b"",
    ],
)  # fmt: skip
def test_every_other_spelling_is_a_bad_request(witness: Witness, body: bytes) -> None:
    """A request has one spelling and bounded parts."""
    assert witness.add_checkpoint(body).status == 400


def test_the_check_and_the_store_are_one(tmp_path: Path) -> None:
    """A request that comes between another's check and its store waits, and then finds the new state."""
    late = list[int]()
    other = threading.Thread(target=lambda: late.append(watching.add_checkpoint(body_of(0, 3)).status))

    def clock() -> float:
        if not other.ident:
            other.start()
            other.join(0.3)
        return 1_700_000_000.0

    watching = Witness(tmp_path, NAME, [VKEY], clock)
    assert watching.add_checkpoint(body_of(0, 9)).status == 200
    other.join(10)
    assert late == [409]
    assert watching.add_checkpoint(body_of(0, 9)).body == "9\n"
