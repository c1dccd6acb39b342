"""Laws of what the records of one request add up to, where a gate judged and alternatives were told."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from audit.header import uuid7
from audit.judgements import ReleaseDecision
from audit.records import Alternatives, BlockTrace, Body, Delivery, GateVerdict, Kind, RequestClose
from audit.stories import Ending
from audit.verify import Report, Verdict, verify
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
