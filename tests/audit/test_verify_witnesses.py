"""Laws of a verdict that asks for witnesses: every record seen by enough of them, or it says from where on that is not so."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.__main__ import USAGE, main
from audit.errors import NoteInvalid
from audit.note import VerifierKey, cosignature_line, split_note
from audit.quorum import Quorum
from audit.verify import Report, Verdict, verify
from tests.audit.samples import ORIGIN, Log, small_log
from tests.audit.witness_samples import cosigner

KEYS = {f"witness.example/w{index}": Ed25519PrivateKey.from_private_bytes(bytes([index]) * 32) for index in (1, 2, 3)}
VKEYS: dict[str, VerifierKey] = {name: cosigner(name, key) for name, key in KEYS.items()}
FIRST, SECOND, THIRD = KEYS


def seen(log: Log, index: int, *names: str, seconds: int = 1_700_000_000) -> None:
    """These witnesses have seen the log's checkpoint of that index."""
    note = log.notes[index]
    log.notes[index] = note + "".join(cosignature_line(split_note(note).text, name, KEYS[name], seconds) for name in names)


def judged(log: Log, out: Path, required: int = 2) -> Report:
    """The verdict where so many of the three are demanded."""
    log.export(out)
    return verify(out, [log.signer.vkey], ORIGIN, witnesses=Quorum(required, tuple(VKEYS.values())))


def test_a_log_that_enough_have_seen_is_verified(tmp_path: Path) -> None:
    """Two of three on the newest checkpoint suffice, and the report no longer lists the question as unchecked."""
    log = small_log(tmp_path / "keys")
    seen(log, 1, FIRST, THIRD)
    report = judged(log, tmp_path / "out")
    assert (report.verdict, report.witnessed) == (Verdict.VERIFIED, 21)
    assert not any("witness" in item or "another history" in item for item in report.unchecked)
    assert any("cut off" in item for item in report.unchecked)


def test_what_came_after_they_saw_it_is_named(tmp_path: Path) -> None:
    """Records behind the newest checkpoint that enough have seen make it incomplete, and the first of them is named."""
    log = small_log(tmp_path / "keys")
    seen(log, 0, FIRST, SECOND, THIRD)
    seen(log, 1, FIRST)
    report = judged(log, tmp_path / "out")
    assert (report.verdict, report.witnessed) == (Verdict.INCOMPLETE, 10)
    (found,) = report.findings
    assert "11 records from seq 10 on" in found.message and "2 of 3 witnesses" in found.message


@pytest.mark.parametrize("seconds", [0, 1_700_000_000])
def test_one_name_twice_or_without_a_time_is_not_two(tmp_path: Path, seconds: int) -> None:
    """Names are counted, and a cosignature that states no time counts for nothing."""
    log = small_log(tmp_path / "keys")
    seen(log, 1, FIRST)
    if not seconds:
        seen(log, 1, SECOND, seconds=0)
    assert judged(log, tmp_path / "out").verdict is Verdict.INCOMPLETE


def test_a_wrong_cosignature_is_tampering(tmp_path: Path) -> None:
    """A line under a witness's key that is not over this tree does not pass as one that is missing."""
    log = small_log(tmp_path / "keys")
    seen(log, 0, FIRST)
    stolen = log.notes[0].rstrip("\n").rsplit("\n", 1)[1]
    log.notes[1] += f"{stolen}\n"
    report = judged(log, tmp_path / "out", required=1)
    assert report.verdict is Verdict.TAMPERED and FIRST in report.findings[0].message


def test_the_log_is_no_witness_of_itself(tmp_path: Path) -> None:
    """A key that is given for the log and for a witness is a mistake of the caller."""
    log = small_log(tmp_path / "keys")
    log.export(tmp_path / "out")
    with pytest.raises(NoteInvalid, match="cannot speak for"):
        verify(
            tmp_path / "out", [str(VKEYS[FIRST]), log.signer.vkey], ORIGIN, witnesses=Quorum(1, (VKEYS[FIRST],))
        )  # fmt: skip


def test_the_command_asks_for_witnesses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All that are given, or the number that is said; a file of keys will do, and too large a number is a usage error."""
    log = small_log(tmp_path / "keys")
    seen(log, 1, FIRST, SECOND)
    log.export(tmp_path / "out")
    (tmp_path / "w.vkeys").write_text("".join(f"{key}\n" for key in VKEYS.values()), encoding="ascii")
    given = ["verify", str(tmp_path / "out"), "--origin", ORIGIN, "--vkey", log.signer.vkey]
    asked = [*given, "--require-witness", f"@{tmp_path / 'w.vkeys'}"]
    assert main([*asked, "--quorum", "2"]) == Verdict.VERIFIED
    assert "records that the witnesses have seen 21" in capsys.readouterr().out
    assert main(asked) == Verdict.INCOMPLETE
    assert main([*asked, "--quorum", "4"]) == USAGE
    assert main([*given, "--require-witness", str(VKEYS[SECOND])]) == Verdict.VERIFIED
    assert main([*given, "--require-witness", str(VKEYS[THIRD])]) == Verdict.INCOMPLETE
