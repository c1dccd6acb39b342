"""Laws of the verifier: never green over a changed log, exact about what is wrong and what it did not see."""

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.__main__ import USAGE, main, render
from audit.approvals import Attached
from audit.errors import NoteInvalid
from audit.export import disclose_nothing, disclose_requests
from audit.header import StoredRecord, decode_header, leaf_hash, uuid7
from audit.merkle import tree_root
from audit.note import Scheme
from audit.records import Body, Kind, PolicyDecision, RequestClose
from audit.signer import Signer
from audit.stories import Ending
from audit.verify import Finding, Report, Verdict, verify
from tests.audit.samples import ORIGIN, SAMPLES, START, WHOLE_REQUEST, Log, small_log


def _judge(log: Log, out: Path) -> Report:
    log.export(out)
    return verify(out, [log.signer.vkey], ORIGIN)


def _only(report: Report, verdict: Verdict) -> Finding:
    (found,) = [finding for finding in report.findings if finding.verdict is verdict]
    return found


def test_an_honest_log_is_verified(tmp_path: Path) -> None:
    """A whole log verifies, its counts add up, and the report says what it did not check."""
    report = _judge(small_log(tmp_path / "keys"), tmp_path / "out")
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, [])
    assert (report.records, report.covered, report.checkpoints, report.decrypted) == (21, 21, 2, 21)
    assert report.requests[Ending.CLOSED] == 2
    assert any("witness" in item for item in report.unchecked)
    assert any("cut off" in item for item in report.unchecked)


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("seq", [0, 4, 20])
def test_a_flipped_body_byte_names_its_record(tmp_path: Path, seq: int) -> None:
    """One bit of one stored body: tampered, and the report names seq, id and kind."""
    log = small_log(tmp_path / "keys")
    row = log.rows[seq]
    header = decode_header(row.header)
    log.rows[seq] = StoredRecord(row.header, _flip(row.body or b"", 20))
    report = _judge(log, tmp_path / "out")
    found = _only(report, Verdict.TAMPERED)
    assert report.verdict is Verdict.TAMPERED
    assert (found.seq, found.record, found.kind) == (seq, header.record, header.kind)
    assert f"seq {seq}" in str(found)
    assert str(header.record) in str(found)


Tamper = Callable[[Log], None]


def _swap_bodies(log: Log) -> None:
    first, second = log.rows[1], log.rows[2]
    log.rows[1:3] = [StoredRecord(first.header, second.body), StoredRecord(second.header, first.body)]


def _swap_records(log: Log) -> None:
    log.rows[1], log.rows[2] = log.rows[2], log.rows[1]


def _rewrite(log: Log, **change: object) -> None:
    row = log.rows[3]
    header = dataclasses.replace(decode_header(row.header), **change)  # type: ignore[arg-type]
    log.rows[3] = StoredRecord(header.encode(), row.body)


def _foreign_note(log: Log) -> None:
    stranger = Signer(log.folder / "stranger", ORIGIN)
    log.notes[-1] = stranger.sign(len(log.rows), tree_root(log.leaves), log.leaves)


TAMPERS: dict[str, Tamper] = {
    "delete in the middle": lambda log: log.rows.__delitem__(5),
    "delete the first": lambda log: log.rows.__delitem__(0),
    "delete the tail": lambda log: log.rows.__delitem__(slice(18, None)),
    "duplicate": lambda log: log.rows.insert(4, log.rows[4]),
    "insert": lambda log: log.rows.insert(2, log.rows[12]),
    "swap bodies": _swap_bodies,
    "swap records": _swap_records,
    "another actor": lambda log: _rewrite(log, actor="nobody"),
    "another time": lambda log: _rewrite(log, ts=START - 1),
    "another tenant": lambda log: _rewrite(log, tenant="other"),
    "another request": lambda log: _rewrite(log, request=None),
    "another kind": lambda log: _rewrite(log, kind=8),
    "foreign signature": _foreign_note,
    "checkpoints out of order": lambda log: log.notes.reverse(),
    "no records": lambda log: log.rows.clear(),
}


@pytest.mark.parametrize("name", list(TAMPERS))
def test_tampering_in_the_database_is_found(tmp_path: Path, name: str) -> None:
    """Whatever a superuser does to stored rows or checkpoints, the verdict is tampered."""
    log = small_log(tmp_path / "keys")
    TAMPERS[name](log)
    assert _judge(log, tmp_path / "out").verdict is Verdict.TAMPERED


def test_a_rewritten_header_is_bounded_by_checkpoints(tmp_path: Path) -> None:
    """When a header changed, the report gives the range between the last good and first bad checkpoint."""
    log = small_log(tmp_path / "keys")
    row = log.rows[12]
    log.rows[12] = StoredRecord(dataclasses.replace(decode_header(row.header), actor="x").encode(), row.body)
    found = _only(_judge(log, tmp_path / "out"), Verdict.TAMPERED)
    assert "seq 10 to 20" in found.message


def test_a_damaged_header_names_its_seq(tmp_path: Path) -> None:
    """Header bytes that are no header are named by position, and the roots no longer agree."""
    log = small_log(tmp_path / "keys")
    log.rows[6] = StoredRecord(b"\x00" + log.rows[6].header[1:], log.rows[6].body)
    report = _judge(log, tmp_path / "out")
    assert report.verdict is Verdict.TAMPERED
    assert _only(report, Verdict.MALFORMED).seq == 6


def test_a_log_rewritten_and_signed_again_fails_only_against_a_kept_checkpoint(tmp_path: Path) -> None:
    """A thief of the signing key can make a consistent new history; a checkpoint that you kept exposes it."""
    log = small_log(tmp_path / "keys")
    kept = log.notes[0]
    log.rows[0] = StoredRecord(
        dataclasses.replace(decode_header(log.rows[0].header), actor="forged").encode(), log.rows[0].body
    )
    (tmp_path / "keys").joinpath("signers").rename(tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "keys" / "signers")
    next((tmp_path / "keys").rglob("state.json")).unlink()
    log.notes = [Signer(tmp_path / "keys", ORIGIN).sign(21, tree_root(log.leaves), log.leaves)]
    assert _judge(log, tmp_path / "out").verdict is Verdict.VERIFIED
    report = verify(tmp_path / "out", [log.signer.vkey], ORIGIN, [kept])
    assert report.verdict is Verdict.TAMPERED
    assert "rewritten" in _only(report, Verdict.TAMPERED).message


def test_a_kept_checkpoint_shows_a_missing_tail(tmp_path: Path) -> None:
    """A bundle that ends before the checkpoint you hold is incomplete; one that reaches it is verified."""
    log = small_log(tmp_path / "keys")
    log.export(tmp_path / "whole")
    kept = log.notes.pop()
    del log.rows[10:]
    log.export(tmp_path / "short")
    assert verify(tmp_path / "whole", [log.signer.vkey], ORIGIN, [kept]).verdict is Verdict.VERIFIED
    assert verify(tmp_path / "short", [log.signer.vkey], ORIGIN).verdict is Verdict.VERIFIED
    assert verify(tmp_path / "short", [log.signer.vkey], ORIGIN, [kept]).verdict is Verdict.INCOMPLETE


def test_uncovered_records_are_incomplete(tmp_path: Path) -> None:
    """Records after the last checkpoint are told apart from proven ones."""
    log = small_log(tmp_path / "keys")
    log.add(None, [SAMPLES[Kind.ENGINE_NOTE]])
    report = _judge(log, tmp_path / "out")
    assert (report.verdict, report.records, report.covered) == (Verdict.INCOMPLETE, 22, 21)
    log.notes.clear()
    assert _judge(log, tmp_path / "none").verdict is Verdict.INCOMPLETE


def test_missing_bodies_and_destroyed_keys_are_incomplete(tmp_path: Path) -> None:
    """A body or key that is gone leaves the proofs whole and the verdict incomplete."""
    log = small_log(tmp_path / "keys")
    log.rows[4] = StoredRecord(log.rows[4].header, None)
    report = _judge(log, tmp_path / "missing")
    assert (report.verdict, _only(report, Verdict.INCOMPLETE).seq) == (Verdict.INCOMPLETE, 4)
    log = small_log(tmp_path / "erased-keys")
    key_id = decode_header(log.rows[10].header).key_id
    (tmp_path / "erased-keys" / "months" / f"{key_id}.json").unlink()
    report = _judge(log, tmp_path / "erased")
    assert (report.verdict, report.covered, report.decrypted) == (Verdict.INCOMPLETE, 21, 20)
    assert "no longer exists" in _only(report, Verdict.INCOMPLETE).message


def test_a_report_moves_no_cursor() -> None:
    """Whatever a bundle puts into a finding, what is printed has neither control characters nor a line of its own."""
    report = Report("log", unchecked=["\x1b[2J\x9b2J\u202e"])
    report.add(Finding(Verdict.TAMPERED, "one\nVERIFIED"))
    lines = render(report).splitlines()
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("VERIFIED") for line in lines)


def test_an_undisclosed_bundle_is_verified_and_says_so(tmp_path: Path) -> None:
    """Without keys the integrity is proven and the unread bodies are listed as not checked."""
    log = small_log(tmp_path / "keys")
    log.export(tmp_path / "out", disclose_nothing)
    report = verify(tmp_path / "out", [log.signer.vkey], ORIGIN)
    assert (report.verdict, report.decrypted) == (Verdict.VERIFIED, 0)
    assert any("21 undisclosed" in item for item in report.unchecked)
    request = decode_header(log.rows[0].header).scope
    log.export(tmp_path / "one", disclose_requests(log.keys, frozenset({request})))
    assert verify(tmp_path / "one", [log.signer.vkey], ORIGIN).decrypted == 10


def _close(**change: object) -> Body:
    close = SAMPLES[Kind.REQUEST_CLOSE]
    return dataclasses.replace(close, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"records": 11}, {"tokens": 8}, {"blocks": 2}, {"steps": 1}, {"rounds": 0}, {"forwards": 5},
        {"prompt_tokens": 4}, {"output_digest": hashlib.sha256(b"").digest()},
    ],
)  # fmt: skip
def test_each_declared_count_is_held_against_the_records(tmp_path: Path, change: dict[str, object]) -> None:
    """A closing record that declares anything else than the records hold is tampering, named at its seq."""
    log = Log(tmp_path / "keys")
    log.add(uuid7(START), [*WHOLE_REQUEST[:-1], _close(**change)])
    log.checkpoint()
    report = _judge(log, tmp_path / "out")
    found = _only(report, Verdict.TAMPERED)
    assert (report.verdict, found.seq, found.kind) == (Verdict.TAMPERED, 9, 10)


@pytest.mark.parametrize("dropped", [3, 4, 5])
def test_a_block_that_was_never_logged_is_found(tmp_path: Path, dropped: int) -> None:
    """Leaving out a block, round or run before it is signed contradicts the engine's own counts."""
    log = Log(tmp_path / "keys")
    bodies = list(WHOLE_REQUEST)
    del bodies[dropped]
    log.add(uuid7(START), bodies)
    log.checkpoint()
    assert _judge(log, tmp_path / "out").verdict is Verdict.TAMPERED


def test_requests_end_in_one_of_five_ways(tmp_path: Path) -> None:
    """Open, refused, abandoned and attached requests are told apart, and none of them is a fault."""
    log = small_log(tmp_path / "keys")
    decision = SAMPLES[Kind.POLICY_DECISION]
    assert isinstance(decision, PolicyDecision)
    refusal = dataclasses.replace(decision, outcome="refuse", status=400)
    still_open = uuid7(START)
    log.add(still_open, WHOLE_REQUEST[:4])
    log.add(uuid7(START), [refusal])
    log.add(uuid7(START), [*WHOLE_REQUEST[:4], SAMPLES[Kind.REQUEST_ABANDONED]])
    log.add(uuid7(START), [Attached(still_open, "chat")])
    log.checkpoint()
    report = _judge(log, tmp_path / "out")
    assert report.verdict is Verdict.VERIFIED
    ends = {Ending.CLOSED: 2, Ending.REFUSED: 1, Ending.ABANDONED: 1, Ending.ATTACHED: 1, Ending.OPEN: 1}
    assert report.requests == ends
    assert any("open or refused" in item for item in report.unchecked)


def test_nothing_follows_a_closing_record(tmp_path: Path) -> None:
    """A record of a request that has ended is a contradiction."""
    log = Log(tmp_path / "keys")
    request = uuid7(START)
    log.add(request, [*WHOLE_REQUEST, SAMPLES[Kind.ENGINE_NOTE]])
    log.checkpoint()
    found = _only(_judge(log, tmp_path / "out"), Verdict.TAMPERED)
    assert (found.seq, "closed" in found.message) == (10, True)


def test_the_key_and_the_origin_are_the_callers(tmp_path: Path) -> None:
    """Another key or another origin than the log's is never satisfied by what the bundle says of itself."""
    log = small_log(tmp_path / "keys")
    log.export(tmp_path / "out")
    other = Signer(tmp_path / "other", ORIGIN).vkey
    elsewhere = Signer(tmp_path / "other", "palimpsest.test/other").vkey
    assert verify(tmp_path / "out", [other], ORIGIN).verdict is Verdict.TAMPERED
    assert verify(tmp_path / "out", [elsewhere], "palimpsest.test/other").verdict is Verdict.TAMPERED
    assert verify(tmp_path / "out", [log.signer.vkey], "palimpsest.test/other").verdict is Verdict.TAMPERED
    assert verify(tmp_path / "out", [other, log.signer.vkey], ORIGIN).verdict is Verdict.VERIFIED
    for vkeys, held in (([], []), (["nonsense"], []), ([log.signer.vkey], ["nonsense"])):
        with pytest.raises(NoteInvalid):
            verify(tmp_path / "out", vkeys, ORIGIN, held)


def test_findings_are_bounded(tmp_path: Path) -> None:
    """A wholly broken log gives a bounded report that says how much it leaves out."""
    log = Log(tmp_path / "keys")
    log.add(None, [SAMPLES[Kind.ENGINE_NOTE]] * 70)
    log.rows = [StoredRecord(row.header, b"broken") for row in log.rows]
    log.checkpoint()
    report = _judge(log, tmp_path / "out")
    assert (len(report.findings), report.suppressed) == (50, 20)


def test_the_command_exits_as_promised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status and text of the command follow the verdict, and mistakes of use are told apart."""
    log = small_log(tmp_path / "keys")
    log.export(tmp_path / "good")
    (tmp_path / "kept").write_text(log.notes[0])
    arguments = ["--vkey", log.signer.vkey, "--origin", ORIGIN]
    kept = ["--checkpoint", str(tmp_path / "kept")]
    assert main(["verify", str(tmp_path / "good"), *arguments, *kept]) == 0
    assert "VERIFIED" in capsys.readouterr().out
    log.rows[4] = StoredRecord(log.rows[4].header, _flip(log.rows[4].body or b"", 30))
    log.export(tmp_path / "bad")
    assert main(["verify", str(tmp_path / "bad"), *arguments]) == 1
    shown = capsys.readouterr().out
    assert "record seq 4" in shown
    assert "kind 5 spec.rounds" in shown
    assert "not checked" in shown
    assert main(["verify", str(tmp_path / "absent"), *arguments]) == USAGE
    assert main(["verify", str(tmp_path / "good"), "--vkey", "x", "--origin", ORIGIN]) == USAGE
    assert main(["verify", str(tmp_path / "good"), *arguments, "--checkpoint", "absent"]) == USAGE
    assert main(["verify", str(tmp_path / "good"), *arguments, "--origin", ""]) == USAGE
    with pytest.raises(SystemExit) as stopped:
        main(["verify"])
    assert stopped.value.code == USAGE


def test_the_verifier_needs_neither_numpy_nor_a_database(tmp_path: Path) -> None:
    """The command runs where only cryptography and cbor2 are installed beside the standard library."""
    log = small_log(tmp_path / "keys")
    log.export(tmp_path / "out")
    blocked = ("numpy", "psycopg", "torch", "sqlalchemy", "litestar", "msgspec", "structlog")
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); "
        "from audit.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "verify", str(tmp_path / "out"), "--vkey", log.signer.vkey,
         "--origin", ORIGIN],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_no_name_in_a_bundle_costs_the_verdict(tmp_path: Path) -> None:
    """Where the terminal lacks a character of the report its code stands there, and the exit status is that of the report."""
    log = small_log(tmp_path / "keys")
    log.export(tmp_path / "out")
    (tmp_path / "out" / "\u6f22").touch()
    done = subprocess.run(
        [sys.executable, "-m", "audit", "verify", str(tmp_path / "out"), "--vkey", log.signer.vkey, "--origin", ORIGIN],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert r"such as '\u6f22'" in done.stdout


def test_what_cannot_be_said_is_no_verdict(tmp_path: Path) -> None:
    """A complaint that no disk takes ends with the status of wrong use, never with that of a verdict."""
    command = [sys.executable, "-m", "audit", "verify", str(tmp_path / "absent"), "--vkey", "x", "--origin", ORIGIN]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, cwd=Path(__file__).parents[2], stderr=full, check=False)
    assert done.returncode == USAGE


def test_leaves_of_the_sample_log_are_its_headers(tmp_path: Path) -> None:
    """The fixture's tree is over exactly the headers that it exports, so that these tests mean something."""
    log = small_log(tmp_path / "keys")
    assert tree_root([leaf_hash(row.header) for row in log.rows]) == log.tree.root() == log.signer.root
    assert isinstance(SAMPLES[Kind.REQUEST_CLOSE], RequestClose)


def test_a_signature_can_be_demanded(tmp_path: Path) -> None:
    """A signature that the newest checkpoint should bear and does not makes the log incomplete; older ones may lack it."""
    log = small_log(tmp_path / "log")
    both = (Scheme.ED25519, Scheme.ML_DSA_44)
    stripped = [note.rsplit("\n", 2)[0] + "\n" for note in log.notes]
    for notes, verdict in ((log.notes, 0), ([stripped[0], log.notes[1]], 0), ([log.notes[0], stripped[1]], 3), (stripped, 3)):
        log.notes = notes
        log.export(out := tmp_path / f"{verdict}{len(notes[0])}{len(notes[1])}")
        assert verify(out, log.signer.vkeys, ORIGIN, required=both).verdict == verdict
        assert verify(out, log.signer.vkeys, ORIGIN).verdict is Verdict.VERIFIED
    keys = [word for vkey in log.signer.vkeys for word in ("--vkey", vkey)]
    assert main(["verify", str(out), "--origin", ORIGIN, *keys, "--require", "ml-dsa-44", "--require", "ed25519"]) == 3


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_report_that_nobody_can_read_is_no_verdict(tmp_path: Path, unbuffered: str) -> None:
    """Where nothing that is said can be written, as behind `2>&1 | head -1`, the status is that of no verdict."""
    log = small_log(tmp_path / "keys")
    log.export(tmp_path / "out")
    command = [sys.executable, "-m", "audit", "verify", str(tmp_path / "out"), "--vkey", log.signer.vkey, "--origin", ORIGIN]
    given = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w", encoding="ascii") as full:
        done = subprocess.run(command, stdout=full, stderr=full, check=False, cwd=Path(__file__).parents[2], env=given)
    assert done.returncode == 70
