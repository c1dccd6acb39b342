"""A gate's verdict reaches the client as a held answer or an error, never as text, and the log says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.records import BlockTrace, DecodeRun, Delivery, GateVerdict, RequestClose
from audit.verify import Verdict as Found
from engine.gates import BlockFacts, Gate, Ruling, Verdict
from engine.request import Mode
from gateway.errors import EngineDown, Withheld
from gateway.pieces import Ended, Failed, Held
from tests.engine.harness import asked
from tests.gateway.generating import generating
from tests.gateway.tenant_log import TenantLog

PROMPT = (1, 200, 300)


def gate(*verdicts: Verdict, declared: frozenset[Verdict] | None = None) -> Gate:
    """Rules the verdicts in turn by the number of the block and its attempt, the last one for ever."""

    def judge(facts: BlockFacts) -> Ruling:
        return Ruling(verdicts[min(facts.index, len(verdicts) - 1)], f"rule of block {facts.index}", 2.0, 3)

    return Gate(judge, declared or frozenset(verdicts))


@pytest.mark.parametrize("mode", [Mode.DIFFUSION, Mode.AR, Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC])
@pytest.mark.parametrize("verdict", [Verdict.HOLD, Verdict.BLOCK])
async def test_a_verdict_against_the_answer_releases_nothing(
    log: TenantLog, tmp_path: Path, mode: Mode, verdict: Verdict
) -> None:
    """Held or blocked at its second block, not a byte leaves, even where text may stream; the records explain it and verify."""
    request = asked(mode, PROMPT, 100, temperature=1.0, gate=gate(Verdict.ACCEPT, verdict))
    async with log.writing() as writer, generating(request, writer) as run:
        await run.task
        last = run.last()
    bodies = log.bodies(request.id)
    if verdict is Verdict.HOLD:
        assert isinstance(last, Held) and last.opened == bodies.pop()
    else:
        assert isinstance(last, Failed) and isinstance(last.error, Withheld)
        assert (last.error.status, last.error.code) == (403, "answer_blocked")
    assert run.text() == ""
    delivery, close = bodies[-2:]
    assert isinstance(delivery, Delivery) and (delivery.bytes_released, delivery.outcome) == (0, "withheld")
    assert isinstance(close, RequestClose) and close.reason == ("blocked" if verdict is Verdict.BLOCK else "length")
    ruled = [body for body in bodies if isinstance(body, GateVerdict)]
    assert [body.verdict for body in ruled[:2]] == ["accept", verdict.value] and ruled[1].rule == "rule of block 1"
    report = log.verified(tmp_path / "bundle")
    assert report.verdict is Found.VERIFIED


async def test_an_accepted_answer_leaves_whole(log: TenantLog) -> None:
    """A request whose gate may hold waits for the last verdict, then all of its text leaves."""
    request = asked(Mode.DIFFUSION, PROMPT, 40, gate=gate(Verdict.ACCEPT, declared=frozenset({Verdict.ACCEPT, Verdict.HOLD})))
    plain = asked(Mode.DIFFUSION, PROMPT, 40)
    async with log.writing() as writer:
        async with generating(request, writer) as run:
            await run.task
            assert isinstance(run.last(), Ended) and len(run.pieces) == 2
        async with generating(plain, writer) as other:
            await other.task
            assert other.text() == run.text() and len(other.pieces) >= 2


async def test_refined_and_redone_blocks_are_on_record(log: TenantLog, tmp_path: Path) -> None:
    """Blocks that the gate turned down stand in the log with no output, before what replaced them, and the log verifies."""
    request = asked(Mode.DIFFUSION, PROMPT, 30, gate=gate(Verdict.REFINE, Verdict.ACCEPT, Verdict.REDO_AR, Verdict.ACCEPT))
    async with log.writing() as writer, generating(request, writer) as run:
        await run.task
        assert isinstance(run.last(), Ended)
    bodies = log.bodies(request.id)
    blocks = [body for body in bodies if isinstance(body, BlockTrace)]
    assert [block.emitted > 0 for block in blocks[:3]] == [False, True, False]
    assert any(isinstance(body, DecodeRun) and body.output for body in bodies)
    assert log.verified(tmp_path / "bundle").verdict is Found.VERIFIED


async def test_a_block_refined_too_often_is_held(log: TenantLog) -> None:
    """A gate that only ever refines ends in a held answer, and nothing had streamed before."""
    request = asked(Mode.DIFFUSION, PROMPT, 30, gate=gate(Verdict.REFINE))
    async with log.writing() as writer, generating(request, writer) as run:
        await run.task
        last = run.last()
    assert isinstance(last, Held) and run.text() == ""


async def test_a_gate_that_breaks_ends_in_a_fault(log: TenantLog) -> None:
    """A verdict that the gate did not declare is a fault: nothing leaves, and the client is told of an error."""
    request = asked(Mode.DIFFUSION, PROMPT, 30, gate=gate(Verdict.HOLD, declared=frozenset({Verdict.BLOCK})))
    async with log.writing() as writer, generating(request, writer) as run:
        await run.task
        failed = run.last()
    assert isinstance(failed, Failed) and isinstance(failed.error, EngineDown) and run.text() == ""
