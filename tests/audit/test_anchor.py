"""Laws of anchors: what the log of checkpoints says of another log is proven first, and then held against it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import bundle
from audit.__main__ import USAGE, main
from audit.anchor import Anchor, check_anchor, read_anchor
from audit.errors import AuditError, MalformedData, NoteInvalid
from audit.note import Scheme, decode_vkey
from audit.quorum import Quorum
from audit.sealing import RequestKey
from audit.verify import Report, Verdict, verify
from tests.audit.anchor_samples import OTHERS, SEEN_BY, Checkpoints
from tests.audit.samples import ORIGIN, Log, small_log


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    """One that has said nothing of another log yet."""
    return Checkpoints(tmp_path / "system")


def judged(
    log: Log, out: Path, anchor: Anchor | None, anchors: Sequence[str], required: Sequence[Scheme] = (),
    witnesses: Quorum | None = None,
) -> Report:  # fmt: skip
    """The verdict on a log with this anchor, under these keys of the log of checkpoints."""
    log.export(out, anchor=None if anchor is None else anchor.line())
    return verify(out, log.signer.vkeys, ORIGIN, (), required, witnesses, anchors)


def test_what_the_log_of_checkpoints_says_is_held_against_the_log(tmp_path: Path, checkpoints: Checkpoints) -> None:
    """A log that is as it says is verified, and how far that goes is told; without its keys that is left unchecked."""
    log = small_log(tmp_path / "keys")
    anchor = checkpoints.anchor(log.notes[0])
    report = judged(log, tmp_path / "out", anchor, checkpoints.vkeys, (Scheme.ED25519, Scheme.ML_DSA_44))
    assert (report.verdict, report.anchored, report.findings) == (Verdict.VERIFIED, 10, [])
    without = verify(tmp_path / "out", log.signer.vkeys, ORIGIN)
    assert (without.verdict, without.anchored) == (Verdict.VERIFIED, None)
    assert any("--anchor" in item for item in without.unchecked)
    assert not any("--anchor" in item for item in report.unchecked)


def test_another_history_that_the_log_signed_itself_is_found(tmp_path: Path, checkpoints: Checkpoints) -> None:
    """Whoever owns the log's keys can sign other records; the log of checkpoints still has the root of the first ones."""
    anchor = checkpoints.anchor(small_log(tmp_path / "keys").notes[0])
    report = judged(small_log(tmp_path / "forged"), tmp_path / "out", anchor, checkpoints.vkeys)
    assert report.verdict is Verdict.TAMPERED
    (found,) = report.findings
    assert f"record 1 of the log {OTHERS} gives its first 10 records another root" in found.message


def test_a_tail_that_was_cut_off_is_missed(tmp_path: Path, checkpoints: Checkpoints) -> None:
    """More records than the bundle has were anchored."""
    log = small_log(tmp_path / "keys")
    anchor = checkpoints.anchor(log.notes[1])
    del log.rows[10:], log.notes[1:]
    report = judged(log, tmp_path / "out", anchor, checkpoints.vkeys)
    assert report.verdict is Verdict.INCOMPLETE and "covers 21 records, the bundle holds 10" in report.findings[0].message


def test_a_bundle_without_an_anchor_does_not_pass_for_one_that_was_borne_out(tmp_path: Path, checkpoints: Checkpoints) -> None:
    """Where it is asked for and not there, the log is valid but incomplete."""
    report = judged(small_log(tmp_path / "keys"), tmp_path / "out", None, checkpoints.vkeys)
    assert (report.verdict, report.anchored) == (Verdict.INCOMPLETE, None)
    assert "says nothing of this log" in report.findings[0].message


def test_an_anchor_that_nobody_listed_is_not_believed(tmp_path: Path, checkpoints: Checkpoints) -> None:
    """A file of that name which the manifest does not list is told of, and is no anchor."""
    log = small_log(tmp_path / "keys")
    log.export(tmp_path / "out")
    (tmp_path / "out" / bundle.ANCHOR).write_bytes(checkpoints.anchor(log.notes[1]).line())
    report = verify(tmp_path / "out", log.signer.vkeys, ORIGIN, anchors=checkpoints.vkeys)
    assert (report.verdict, report.anchored) == (Verdict.INCOMPLETE, None)
    assert any(bundle.ANCHOR in item for item in report.unchecked)


def test_lies_in_an_anchor_are_tampering(tmp_path: Path, checkpoints: Checkpoints) -> None:
    """Another log's tree, another record, body, key or signer: each is named, and nothing of it counts."""
    log = small_log(tmp_path / "keys")
    good = checkpoints.anchor(log.notes[1])
    other = checkpoints.anchor(log.notes[1], origin="palimpsest.test/beta")
    lies = {
        "says nothing of the log": (other, checkpoints.vkeys),
        "nothing of another log": (checkpoints.shown(0), checkpoints.vkeys),
        "another body": (dataclasses.replace(good, sealed=other.sealed), checkpoints.vkeys),
        "does not open": (dataclasses.replace(good, key=RequestKey(bytes(32))), checkpoints.vkeys),
        "the proof is for": (dataclasses.replace(good, proof=other.proof), checkpoints.vkeys),
        "not signed by a key": (good, Checkpoints(tmp_path / "elsewhere").vkeys),
    }
    for index, (words, (anchor, keys)) in enumerate(lies.items()):
        report = judged(log, tmp_path / f"out-{index}", anchor, keys)
        assert (report.verdict, report.anchored) == (Verdict.TAMPERED, None)
        assert words in report.findings[0].message, report.findings


def test_both_signatures_can_be_asked_of_the_anchor_too(tmp_path: Path, checkpoints: Checkpoints) -> None:
    """With --require a log of checkpoints that only Ed25519 has signed bears nothing out for certain."""
    log = small_log(tmp_path / "keys")
    good = checkpoints.anchor(log.notes[1])
    report = judged(log, tmp_path / "out", good, checkpoints.vkeys[:1], (Scheme.ML_DSA_44,))
    assert report.verdict is Verdict.INCOMPLETE and "the anchor: no ml-dsa-44 key" in report.findings[0].message


def test_who_has_seen_the_log_of_checkpoints_has_seen_what_it_bears_out(tmp_path: Path, checkpoints: Checkpoints) -> None:
    """One cosignature on the log of checkpoints speaks for every log that is anchored in it, as far as it is."""
    log = small_log(tmp_path / "keys")
    checkpoints.anchor(log.notes[1])
    anchor, quorum = checkpoints.shown(1, seconds=1_700_000_000), Quorum(1, (SEEN_BY,))
    report = judged(log, tmp_path / "out", anchor, checkpoints.vkeys, witnesses=quorum)
    assert (report.verdict, report.witnessed) == (Verdict.VERIFIED, 21)
    unseen = judged(log, tmp_path / "unseen", checkpoints.shown(1), checkpoints.vkeys, witnesses=quorum)
    assert (unseen.verdict, unseen.witnessed, unseen.anchored) == (Verdict.INCOMPLETE, 0, 21)
    with pytest.raises(NoteInvalid, match="cannot speak for"):
        verify(tmp_path / "out", log.signer.vkeys, ORIGIN, witnesses=quorum, anchors=[str(SEEN_BY)])


@given(place=st.integers(0, 2**16), byte=st.integers(0, 255))
def test_a_changed_byte_never_changes_what_is_borne_out(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    """Whatever byte of a line is another, it is refused with one of our errors or still says the same of the same log."""
    checkpoints = Checkpoints(tmp_path_factory.mktemp("system"))
    good = checkpoints.anchor(small_log(tmp_path_factory.mktemp("keys")).notes[1])
    keys = [decode_vkey(text) for text in checkpoints.vkeys]
    line = bytearray(good.line())
    line[place % len(line)] = byte
    try:
        kept = check_anchor(read_anchor(bytes(line)), keys, ORIGIN)
    except AuditError:
        return
    assert kept == check_anchor(good, keys, ORIGIN)


def test_another_spelling_is_malformed(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """An anchor has one spelling: further keys, a short key, a number for the proof and an overlong line are refused."""
    line = checkpoints.anchor(small_log(tmp_path / "keys").notes[1]).line()
    for wrong in (
        line + line, line.replace(b'"key"', b'"kez"'), line.replace(b'{"body"', b'{ "body"'), b"{}\n", b"\xff\n",
        line.replace(b'"proof":"', b'"proof":"' + b" " * 300_000),
    ):  # fmt: skip
        with pytest.raises(MalformedData):
            read_anchor(wrong)


def test_the_command_takes_the_keys_of_the_log_of_checkpoints(
    tmp_path: Path, checkpoints: Checkpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    """As keys or as a file of them; those of two logs are a mistake of whoever gives them."""
    log = small_log(tmp_path / "keys")
    log.export(tmp_path / "out", anchor=checkpoints.anchor(log.notes[1]).line())
    (tmp_path / "system.vkeys").write_text("".join(f"{key}\n" for key in checkpoints.vkeys), encoding="ascii")
    asked = ["verify", str(tmp_path / "out"), "--origin", ORIGIN, "--vkey", log.signer.vkey]
    assert main([*asked, "--anchor", f"@{tmp_path / 'system.vkeys'}"]) == Verdict.VERIFIED
    assert "records that the log of checkpoints bears out 21" in capsys.readouterr().out
    assert main([*asked, "--anchor", checkpoints.vkeys[0], "--anchor", log.signer.vkey]) == USAGE
