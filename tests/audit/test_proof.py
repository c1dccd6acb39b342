"""Laws of tlog-proof: it proves the one record it was made for, to whoever has the log's key, and nothing else."""

import json
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from audit.__main__ import USAGE, main
from audit.errors import MalformedData, NoteInvalid, ProofInvalid
from audit.header import decode_header
from audit.note import Scheme, cosignature_line, decode_vkey, encode_vkey
from audit.proof import LogProof, check_proof, make_proof, make_proofs, parse_proof
from audit.quorum import Quorum
from audit.tilelog import TileLog
from tests.audit.outside_samples import ORIGIN, VKEY, SampleLog, Shelf, signed

LOG = SampleLog(300)
DOOR = TileLog(LOG)
INDEX = 257
NOTE = signed(LOG.leaves)
PROOF = make_proof(DOOR, INDEX, NOTE)
SEER = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
WITNESS = decode_vkey(encode_vkey("witness.example/w1", SEER.public_key().public_bytes_raw(), Scheme.COSIGNATURE))


@given(st.integers(1, 300), st.data())
def test_every_record_is_proved(size: int, data: st.DataObject) -> None:
    """A proof of any record under a checkpoint of any size verifies and names that record."""
    index = data.draw(st.integers(0, size - 1))
    text = make_proof(DOOR, index, signed(LOG.leaves[:size]))
    proven = check_proof(text, LOG.raw[index], [VKEY], ORIGIN)
    assert (proven.header, proven.checkpoint.size) == (decode_header(LOG.raw[index]), size)
    assert parse_proof(text).text() == text
    several = [index, 0, index, size - 1]
    assert list(make_proofs(DOOR, several, parse_proof(text).note)) == [
        make_proof(DOOR, each, parse_proof(text).note) for each in several
    ]


def test_the_text_is_the_specifications() -> None:
    """First line, index, one hash a line, an empty line, and the checkpoint verbatim."""
    head, note = PROOF.split("\n\n", 1)
    lines = head.split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", f"index {INDEX}"]
    assert len(lines) == 2 + len(parse_proof(PROOF).path) and all(
        re.fullmatch("[A-Za-z0-9+/]{43}=", line) for line in lines[2:]
    )
    assert note == NOTE


def test_extra_data_travels_and_counts_for_nothing() -> None:
    """Extra data is read back as it was and changes no verdict."""
    proof = parse_proof(PROOF)
    text = LogProof(proof.index, proof.path, proof.note, b"anything").text()
    assert text.split("\n")[1] == "extra YW55dGhpbmc="
    assert parse_proof(text).extra == b"anything"
    assert check_proof(text, LOG.raw[INDEX], [VKEY], ORIGIN) == check_proof(PROOF, LOG.raw[INDEX], [VKEY], ORIGIN)


@given(st.data())
def test_any_changed_byte_of_a_proof_is_refused(data: st.DataObject) -> None:
    """One changed byte anywhere in a proof and it proves nothing."""
    raw = bytearray(PROOF.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 6))
    with pytest.raises((MalformedData, NoteInvalid, ProofInvalid)):
        check_proof(raw.decode("utf-8", "replace"), LOG.raw[INDEX], [VKEY], ORIGIN)


@given(st.data())
def test_any_changed_byte_of_the_header_is_refused(data: st.DataObject) -> None:
    """One changed byte anywhere in the record's header and the proof is not for it."""
    header = bytearray(LOG.raw[INDEX])
    header[data.draw(st.integers(0, len(header) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((MalformedData, ProofInvalid)):
        check_proof(PROOF, bytes(header), [VKEY], ORIGIN)


@given(st.text(max_size=300) | st.text(max_size=80).map(lambda tail: f"c2sp.org/tlog-proof@v1\n{tail}"))
def test_arbitrary_proofs_are_refused_cleanly(text: str) -> None:
    """Garbage raises our errors and is never accepted."""
    with pytest.raises((MalformedData, NoteInvalid)):
        check_proof(text, LOG.raw[0], [VKEY], ORIGIN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("index 257", "index 0257"), ("index 257", "index -1"), ("index 257", "index 9223372036854775808"),
        ("index 257", "extra \nindex 257"), ("index 257", "extra AAA\nindex 257"), ("index 257", "extra AA==\nindex 0257"),
        ("index 257\n", ""), ("@v1", "@v2"), ("\n\n", "\n"), ("index 257", "index 257\nAAAA"), ("index 257", "index 257 "),
        ("index 257\n", "index 257\r\n"), ("index 257\n", "index 257\n" + f"{'A' * 43}=\n" * 64),
        ("index 257", f"extra {'AAAA' * 1400}\nindex 257"),
    ],
)  # fmt: skip
def test_every_other_spelling_is_malformed(old: str, new: str) -> None:
    """A proof has one spelling and bounded parts."""
    changed = PROOF.replace(old, new, 1)
    with pytest.raises(MalformedData):
        parse_proof(changed)


def test_a_proof_is_not_for_another_record_log_or_key() -> None:
    """The neighbour's header, another origin, a stranger's key and a size it is beyond are all refused."""
    with pytest.raises(ProofInvalid, match="record 256"):
        check_proof(PROOF, LOG.raw[INDEX - 1], [VKEY], ORIGIN)
    with pytest.raises(NoteInvalid):
        check_proof(PROOF, LOG.raw[INDEX], [VKEY], "palimpsest.test/other")
    with pytest.raises(NoteInvalid):
        check_proof(PROOF, LOG.raw[INDEX], [], ORIGIN)
    with pytest.raises(ProofInvalid):
        make_proof(DOOR, INDEX, signed(LOG.leaves[:INDEX]))
    with pytest.raises(MalformedData, match="76 KiB"):
        parse_proof(PROOF + "x" * 90_000)


def test_tiles_of_another_tree_give_no_proof() -> None:
    """A proof that its own checkpoint does not bear out is never written."""
    with pytest.raises(ProofInvalid):
        make_proof(Shelf([*LOG.leaves[:-1], bytes(32)]), INDEX, NOTE)


def test_witnesses_can_be_demanded() -> None:
    """With a quorum given, a proof under a bare checkpoint fails and one under a cosigned checkpoint says who saw it."""
    quorum = Quorum(1, (WITNESS,))
    with pytest.raises(NoteInvalid, match="0 of 1"):
        check_proof(PROOF, LOG.raw[INDEX], [VKEY], ORIGIN, quorum)
    line = cosignature_line(NOTE.split("\n\n")[0] + "\n", WITNESS.name, SEER, 1_700_000_000)
    proven = check_proof(make_proof(DOOR, INDEX, NOTE + line), LOG.raw[INDEX], [VKEY], ORIGIN, quorum)
    assert [(seen.key.name, seen.seconds) for seen in proven.witnesses] == [("witness.example/w1", 1_700_000_000)]


def test_the_command_checks_a_proof(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check` exits 0 for a proof, 1 for another record or a missing witness, 2 for garbage, 64 for an unusable key."""
    (tmp_path / "p").write_text(PROOF)
    (tmp_path / "h").write_bytes(LOG.raw[INDEX])
    (tmp_path / "other").write_bytes(LOG.raw[3])
    (tmp_path / "junk").write_bytes(b"\xff\xfe")

    def run(proof: str, header: str, *more: str, vkey: str = str(VKEY)) -> int:
        command = ["check", str(tmp_path / proof), "--header", str(tmp_path / header), "--vkey", vkey, "--origin", ORIGIN]
        return main([*command, *more])

    assert run("p", "h") == 0
    assert f"record {INDEX} of log {ORIGIN}" in capsys.readouterr().out
    assert run("p", "other") == 1
    assert run("p", "h", "--witness", str(WITNESS)) == 1
    assert (run("junk", "h"), run("p", "junk")) == (2, 2)
    assert run("p", "h", "--quorum", "1") == USAGE
    of_the_log = encode_vkey("witness.example/w1", VKEY.public, Scheme.COSIGNATURE)
    assert run("p", "h", "--witness", of_the_log) == USAGE, "the caller's mistake says nothing about the proof"
    assert (run("p", "h", vkey="x"), run("gone", "h")) == (USAGE, USAGE)


def test_golden_proof() -> None:
    """The published proof is for the published header, and the published witness has seen its checkpoint."""
    vectors = Path(__file__).parent / "vectors"
    golden = json.loads((vectors / "proof.json").read_text())
    header = bytes.fromhex(json.loads((vectors / "header.json").read_text())["header"])
    proven = check_proof(golden["proof"], header, [VKEY], ORIGIN, Quorum(1, (decode_vkey(golden["witness"]),)))
    assert (proven.header.seq, proven.checkpoint.size) == (7, 8)
    shown = (Path(__file__).parents[2] / "audit" / "FORMAT.md").read_text().replace("\n    ", "\n")
    assert golden["proof"] in shown and golden["witness"] in shown
