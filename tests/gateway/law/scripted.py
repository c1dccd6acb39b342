"""An engine that always says the same: its units, rulings and events are as a real one's would be, and a matrix is cheap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from engine.events import Event, FinishReason, RunDecoded
from engine.gates import CAUSAL_UNIT, BlockFacts, Ruling, Verdict
from engine.request import GenerationRequest, Mode
from gateway.testimony import Tally
from tests.gateway.law.cheap import Cheap, gated

AGAIN = (Verdict.REFINE, Verdict.REDO_AR)


class Scripted(Cheap):
    """Answers each request with these ids."""

    def __init__(self, ids: tuple[int, ...]) -> None:
        super().__init__()
        self._ids = ids

    def told(self, request: GenerationRequest) -> Iterator[Event]:
        """Unit by unit, to the end or to a unit that is blocked."""
        tally, asked, reason = Tally(), 0, FinishReason.STOP
        prompt = len(request.prompt)
        for start in range(0, len(self._ids), CAUSAL_UNIT):
            ids = self._ids[start : start + CAUSAL_UNIT]
            for facts, ruling in _tries(request, asked, prompt + start, len(ids)):
                run = _run(request, facts, () if ruling.verdict in AGAIN else ids)
                tally.count(run)
                yield run
                if request.gate is not None:
                    yield gated(request.id, facts.index, facts, ruling)
                    asked += 1
            if ruling.verdict is Verdict.BLOCK:
                reason = FinishReason.BLOCKED
                break
        yield tally.finished(request.id, prompt, reason)


def _run(request: GenerationRequest, facts: BlockFacts, ids: tuple[int, ...]) -> RunDecoded:
    return RunDecoded(request.id, facts.start, ids, (-0.5,) * len(ids), 1)


def _tries(request: GenerationRequest, index: int, start: int, tokens: int) -> Iterator[tuple[BlockFacts, Ruling]]:
    """One unit with its ruling, and once more as often as it is to be decoded again: refined, or in `ar`."""
    mode = Mode.LINEAR_SPEC if request.mode is Mode.AUTO else request.mode
    facts = BlockFacts(index, start, mode.value, tokens, 0, 1, 0, -0.5, -0.5)
    ruling = Ruling(Verdict.ACCEPT) if request.gate is None else request.gate.judge(facts)
    yield facts, ruling
    while ruling.verdict in AGAIN and request.gate is not None:
        again = Mode.AR.value if ruling.verdict is Verdict.REDO_AR else facts.mode
        facts = replace(facts, index=facts.index + 1, attempt=facts.attempt + 1, mode=again)
        ruling = request.gate.judge(facts)
        yield facts, ruling
