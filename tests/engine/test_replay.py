"""Laws of the record: events alone give the text, every intermediate state and all totals."""

from __future__ import annotations

import hashlib

import pytest

from engine.events import Admitted, BlockDecoded, Output, Prefilled, RunDecoded, SpecRound
from engine.gates import BlockFacts, Gate, Ruling, Verdict
from engine.request import Mode
from tests.engine.harness import MODES, asked, decoded, finished, model, output, play

MASK = 100


@pytest.mark.parametrize("mode", MODES)
def test_replay_gives_the_same_events(mode: Mode) -> None:
    """The same request twice, in two engines, gives the same events to the last bit."""
    request = asked(mode, temperature=0.8)
    assert decoded(model(), request) == decoded(model(), request)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tokens", [1, 2, 23])
def test_the_events_tell_everything(mode: Mode, tokens: int) -> None:
    """Text, totals and digest can be rebuilt from the events alone, which begin with admission and end with the totals."""
    request = asked(mode, tokens=tokens, temperature=0.8)
    events = decoded(model(), request)
    admitted, prefilled, closing = events[0], events[1], finished(events)
    text = output(events)
    told = [event for event in events if isinstance(event, Output)]
    assert isinstance(admitted, Admitted) and (admitted.request, admitted.numeric) == (request, "strict")
    assert prefilled == Prefilled(request.id, tokens=3, cached=0, passes=1)
    assert len(events) == 3 + len(told)
    assert closing.tokens == len(text) == tokens
    assert closing.forwards == sum(event.forwards for event in told)
    assert closing.blocks == sum(isinstance(event, BlockDecoded) for event in told)
    assert closing.rounds == sum(isinstance(event, SpecRound) for event in told)
    assert closing.steps == sum(len(event.steps) for event in told if isinstance(event, BlockDecoded))
    assert closing.output_digest == hashlib.sha256(b"".join(t.to_bytes(4, "big") for t in text)).hexdigest()


@pytest.mark.parametrize("mode", [Mode.AR, Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC])
def test_starts_follow_the_output(mode: Mode) -> None:
    """Runs start where the output before them ended; a round starts at its first draft."""
    position = 3
    for event in decoded(model(), asked(mode, temperature=0.8)):
        if isinstance(event, RunDecoded):
            assert event.start == position
        if isinstance(event, SpecRound):
            assert event.start == position - (mode is Mode.LINEAR_SPEC)
        position += len(event.output) if isinstance(event, RunDecoded | SpecRound) else 0


def test_ar_is_told_in_growing_runs() -> None:
    """The first token is told at once, later ones in runs of at most eight."""
    runs = [event for event in decoded(model(), asked(Mode.AR, tokens=30)) if isinstance(event, RunDecoded)]
    assert [len(run.output) for run in runs] == [1, 2, 4, 8, 8, 7]
    assert [run.forwards for run in runs] == [0, 2, 4, 8, 8, 7]


@pytest.mark.parametrize("mode", MODES)
def test_every_pass_is_counted(mode: Mode) -> None:
    """Forwards are the passes made after prefill: no more, no fewer."""
    passes = []
    events, _ = play(model(), asked(mode, temperature=0.8), watch=lambda session: passes.append(session.cache.filled))
    assert finished(events).forwards == len(passes) - 1


def unsure(facts: BlockFacts) -> Ruling:
    """Refine every block once, with a step or two."""
    return Ruling(Verdict.REFINE if facts.attempt == 0 else Verdict.ACCEPT, "unsure", threshold=0.4, steps=2)


@pytest.mark.parametrize("gate", [None, Gate(unsure, frozenset({Verdict.ACCEPT, Verdict.REFINE}))], ids=["free", "gated"])
@pytest.mark.parametrize("threshold", [0.05, 0.4, None])
def test_every_state_of_a_block_can_be_rebuilt(threshold: float | None, gate: Gate | None) -> None:
    """What was masked, what was known and what was kept chain from step to step, and from a refined block to the next try."""
    events = decoded(model(), asked(Mode.DIFFUSION, tokens=40, threshold=threshold, temperature=0.8, gate=gate))
    known: list[int] = []
    for block in (event for event in events if isinstance(event, BlockDecoded)):
        if not known:
            known = [block.tokens[0], *[MASK] * 7]
        for step in block.steps:
            for place in range(8):
                if step.masked[place]:
                    known[place] = MASK
                else:
                    assert step.proposal[place] == known[place]
            for place in range(8):
                assert not step.committed[place] or step.masked[place]
                known[place] = step.proposal[place] if step.committed[place] else known[place]
        assert tuple(known) == block.tokens
        known = [] if block.emitted else known
    assert len(output(events)) == 40


@pytest.mark.parametrize("mode", [Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC, Mode.AUTO])
def test_every_round_can_be_judged_again(mode: Mode) -> None:
    """Draft and verification alone give what was accepted and output, and each round goes on where the last one ended."""
    text: list[int] = []
    for event in decoded(model(), asked(mode, tokens=50, block=6, temperature=0.8)):
        if isinstance(event, SpecRound):
            right = 0
            while right < len(event.draft) - 1 and event.draft[right + 1] == event.verified[right]:
                right += 1
            if mode is Mode.QUADRATIC_SPEC:
                assert event.accepted == right + 1
                whole = (*event.draft[: right + 1], event.verified[right])
                assert event.output in (whole[:-1], whole, whole[: 50 - len(text)])
                assert event.start == 3 + len(text)
            else:
                assert event.accepted == right and event.draft[0] == text[-1]
                assert event.output == event.verified[: right + 1][: 50 - len(text)]
                assert event.start == 2 + len(text)
            assert len(event.logprob) == len(event.output) and event.draft_confidence[0] == 1.0
        if isinstance(event, SpecRound | RunDecoded):
            text += event.output
    assert len(text) == 50
