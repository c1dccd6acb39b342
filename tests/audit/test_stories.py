"""Laws of what the records of one request add up to, where a gate judged and alternatives were told."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from audit.export import Disclosure, disclose_nothing
from audit.header import uuid7
from audit.judgements import ReleaseDecision
from audit.records import Alternatives, BlockTrace, Body, Delivery, GateVerdict, Kind, RequestClose
from audit.stories import Ending
from audit.verify import Report, Verdict, verify
from tests.audit.held_log import DRAFTED, HELD_REQUEST, HeldLog
from tests.audit.samples import BLOCK, ORIGIN, SAMPLES, START, WHOLE_REQUEST, Log

TURNED_DOWN = dataclasses.replace(BLOCK, emitted=0)
RANKED = SAMPLES[Kind.ALTERNATIVES]
WITHHELD = Delivery(0, hashlib.sha256(b"").digest(), "withheld")


def _verdict(verdict: str, block_index: int = 0) -> Body:
    gate = SAMPLES[Kind.GATE]
    assert isinstance(gate, GateVerdict)
    return dataclasses.replace(gate, verdict=verdict, block_index=block_index)


def _close(**change: object) -> Body:
    """The close of a request whose first block was refined once: two blocks of two steps in twelve records."""
    sample = SAMPLES[Kind.REQUEST_CLOSE]
    assert isinstance(sample, RequestClose)
    declared: dict[str, object] = {"reason": "blocked", "blocks": 2, "steps": 4, "forwards": 9, "records": 12}
    return dataclasses.replace(sample, **(declared | change))  # type: ignore[arg-type]


def _gated(close: Body) -> list[Body]:
    """A request whose first block was refined and whose last text was blocked, with alternatives on the way."""
    opening, (block, rounds, run) = WHOLE_REQUEST[:3], WHOLE_REQUEST[3:6]
    drafts = [TURNED_DOWN, _verdict("refine"), block, _verdict("accept", 1)]
    return [*opening, *drafts, RANKED, rounds, run, WITHHELD, close]


def _judge(folder: Path, bodies: Sequence[Body]) -> Report:
    log = Log(folder / "keys")
    log.add(uuid7(START), bodies)
    log.checkpoint()
    log.export(folder / "out")
    return verify(folder / "out", [log.signer.vkey], ORIGIN)


def test_a_gated_request_is_verified_and_closed(tmp_path: Path) -> None:
    """Verdicts, alternatives, a block that was turned down and the reason `blocked` make a closed, verified request."""
    report = _judge(tmp_path, _gated(_close()))
    assert (report.verdict, report.findings, report.decrypted) == (Verdict.VERIFIED, [], 12)
    assert report.requests[Ending.CLOSED] == 1


@pytest.mark.parametrize("change", [{"records": 11}, {"blocks": 1}, {"steps": 2}, {"forwards": 6}, {"tokens": 11}])
def test_what_a_gate_turned_down_is_counted(tmp_path: Path, change: dict[str, object]) -> None:
    """A close that passes over the block that was turned down, or counts its tokens, contradicts the records."""
    assert _judge(tmp_path, _gated(_close(**change))).verdict is Verdict.TAMPERED


def test_alternatives_are_no_output(tmp_path: Path) -> None:
    """Other alternatives leave the rebuilt answer alone; a block that emits what was turned down does not."""
    others = Alternatives(start=0, width=1, ids=(5, 6, 7), logprob=(-1.0, -2.0, -3.0))
    replaced = [others if body == RANKED else body for body in _gated(_close())]
    assert _judge(tmp_path / "others", replaced).verdict is Verdict.VERIFIED
    emitting = [dataclasses.replace(body, emitted=1) if body == TURNED_DOWN else body for body in _gated(_close())]
    assert sum(isinstance(body, BlockTrace) and body.emitted == 1 for body in emitting) == 1
    report = _judge(tmp_path / "emitting", emitting)
    assert any("do not hash" in finding.message for finding in report.findings)


def test_alternatives_that_were_left_out_are_missed(tmp_path: Path) -> None:
    """Dropping a record of alternatives before it is signed contradicts the declared number of records."""
    report = _judge(tmp_path, [body for body in _gated(_close()) if body != RANKED])
    (finding,) = report.findings
    assert (finding.verdict, "12 records" in finding.message) == (Verdict.TAMPERED, True)


@pytest.mark.parametrize(
    ("verdict", "released", "found"), [("hold", 5, True), ("block", 5, True), ("annotate", 5, False), ("hold", 0, False)]
)
def test_a_stopped_answer_was_not_delivered(tmp_path: Path, verdict: str, released: int, found: bool) -> None:
    """Bytes that left although the verdict on the answer was to hold or block it are a contradiction."""
    decision, delivery, close = (SAMPLES[kind] for kind in (Kind.RELEASE_DECISION, Kind.DELIVERY, Kind.REQUEST_CLOSE))
    assert isinstance(decision, ReleaseDecision) and isinstance(delivery, Delivery) and isinstance(close, RequestClose)
    told = dataclasses.replace(decision, verdict=verdict)
    handed = dataclasses.replace(delivery, bytes_released=released)
    report = _judge(tmp_path, [*WHOLE_REQUEST[:8], told, handed, dataclasses.replace(close, records=11)])
    assert (report.verdict is Verdict.TAMPERED) is found
    assert any(f"whose verdict was {verdict}" in str(finding) for finding in report.findings) is found


def _verdict_on_all(said: str) -> ReleaseDecision:
    decision = SAMPLES[Kind.RELEASE_DECISION]
    assert isinstance(decision, ReleaseDecision)
    return dataclasses.replace(decision, verdict=said)


HELD, BLOCKED, ALLOWED = _verdict_on_all("hold"), _verdict_on_all("block"), _verdict_on_all("allow")
FIVE = SAMPLES[Kind.DELIVERY]
RUN = WHOLE_REQUEST[5]


def _ended_by(folder: Path, end: Sequence[Body], disclose: Disclosure | None = None) -> Report:
    """A closed request whose text, all but its last run, is followed by this."""
    close = SAMPLES[Kind.REQUEST_CLOSE]
    assert isinstance(close, RequestClose)
    text = [body for body in WHOLE_REQUEST[:8] if body is not RUN]
    bodies = [*text, *(end if RUN in end else [RUN, *end])]
    log = Log(folder / "keys")
    log.add(uuid7(START), [*bodies, dataclasses.replace(close, records=len(bodies) + 1)])
    log.checkpoint()
    log.export(folder / "out", disclose)
    return verify(folder / "out", [log.signer.vkey], ORIGIN)


@pytest.mark.parametrize("disclose", [None, disclose_nothing])
@pytest.mark.parametrize(
    ("end", "why"),
    [
        ([ALLOWED, FIVE], ""), ([HELD, WITHHELD], ""), ([FIVE], ""), ([ALLOWED], ""),
        ([BLOCKED, ALLOWED, FIVE], "a second verdict"), ([HELD, ALLOWED, FIVE], "a second verdict"),
        ([ALLOWED, BLOCKED, WITHHELD], "a second verdict"), ([FIVE, BLOCKED], "delivered before"),
        ([FIVE, FIVE], "a second delivery"), ([ALLOWED, WITHHELD, FIVE], "a second delivery"),
        ([ALLOWED, RUN, FIVE], "judged before"),
    ],
)  # fmt: skip
def test_an_answer_is_judged_once_and_then_delivered_once(
    tmp_path: Path, end: Sequence[Body], why: str, disclose: Disclosure | None
) -> None:
    """Text, one verdict, one delivery: any other order is a contradiction, whether or not a body is disclosed."""
    report = _ended_by(tmp_path, end, disclose)
    assert report.verdict is (Verdict.TAMPERED if why else Verdict.VERIFIED)
    found = [str(finding) for finding in report.findings]
    assert all(why in each or "bytes were delivered" in each for each in found)
    assert any(why in each for each in found) if why else found == []


def test_a_verdict_that_holds_or_blocks_is_never_taken_back(tmp_path: Path) -> None:
    """What was held or blocked stays so under a later verdict: bytes that left count, and a hold awaits its approval."""
    for first in (HELD, BLOCKED):
        report = _ended_by(tmp_path / first.verdict, [first, ALLOWED, FIVE])
        assert any(f"whose verdict was {first.verdict}" in str(finding) for finding in report.findings)
    log = HeldLog(tmp_path / "held")
    generation = uuid7(START)
    held = list(HELD_REQUEST)
    held.insert(DRAFTED + 1, ALLOWED)
    log.add(generation, held)
    log.begin(generation)
    log.checkpoint()
    log.export(tmp_path / "out")
    found = [str(finding) for finding in verify(tmp_path / "out", [log.signer.vkey], ORIGIN).findings]
    assert any("a second verdict" in each for each in found)
    assert not any("the answer was not held" in each for each in found)
