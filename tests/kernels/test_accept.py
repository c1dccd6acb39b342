"""The definitions of selection and acceptance are the engine's own rules, as its events tell them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from engine.events import BlockDecoded, DenoiseStep, SpecRound
from engine.request import Mode
from kernels.accept import GOES_ON, NO_STOP, SPENT, STOPPED, accept, select
from tests.engine.harness import asked, decoded, finished, model, output

STOPS = torch.tensor([[7, NO_STOP]], dtype=torch.int32)


def steps(threshold: float | None, most: int, prompt: int) -> Iterator[tuple[BlockDecoded, int, DenoiseStep]]:
    """Every denoising step of a generation, with its block and its number."""
    request = asked(Mode.DIFFUSION, (1, 5, prompt), 40, stop=(7,), threshold=threshold, max_steps=most)
    for event in decoded(model(spread=3.0), request):
        if isinstance(event, BlockDecoded):
            yield from ((event, number, step) for number, step in enumerate(event.steps))


@pytest.mark.parametrize(("threshold", "most"), [(0.02, 8), (0.9, 3), (None, 3)])
def test_selection_is_what_a_block_keeps(threshold: float | None, most: int) -> None:
    """From a recorded step's proposals and confidences the kept positions follow: by threshold, by schedule, at the last."""
    seen = 0
    for prompt in range(20, 26):
        for block, number, step in steps(threshold, most, prompt):
            masks = sum(block.steps[0].masked)
            due = masks // most + (number < masks % most) if threshold is None else 1
            least = sum(step.masked) if number + 1 >= most else due
            tokens, masked = torch.tensor([step.proposal], dtype=torch.int32), torch.tensor([step.masked])
            logprob = torch.tensor([step.confidence]).log()
            bar, floor = torch.tensor([2.0 if threshold is None else threshold]), torch.tensor([least], dtype=torch.int32)
            record = select(tokens.clone(), masked, tokens, logprob, bar, floor, STOPS)[0]
            kept = tuple(bool(int(record[1]) >> place & 1) for place in range(len(step.masked)))
            assert kept == step.committed
            assert bool(record[2]) == (number + 1 < len(block.steps))
            seen += 1
    assert seen > 20


def test_acceptance_is_what_a_round_outputs() -> None:
    """From a recorded draft and its verification follow what held, what is output, and why the answer ends."""
    ends = set()
    for prompt in range(20, 28):
        free = output(decoded(model(), asked(Mode.LINEAR_SPEC, (1, 5, prompt), 20)))
        stops = free[9:10] if prompt % 2 else ()
        events = decoded(model(), asked(Mode.LINEAR_SPEC, (1, 5, prompt), 20, stop=stops))
        rounds = [event for event in events if isinstance(event, SpecRound)]
        left = 19
        for event in rounds:
            draft, verified = (torch.tensor([ids], dtype=torch.int32) for ids in (event.draft, event.verified))
            room, size = torch.tensor([left], dtype=torch.int32), torch.tensor([len(event.draft)], dtype=torch.int32)
            committed = torch.tensor([event.start], dtype=torch.int32)
            record = accept(
                draft, size, verified, torch.zeros(draft.shape), room, torch.tensor([[*stops, NO_STOP]]), committed
            )[0]
            held, count, why = record[:3].tolist()
            left -= count
            assert held == event.accepted and verified[0, :count].tolist() == list(event.output)
            assert int(committed) == event.start + count
            assert (why == GOES_ON) == (event is not rounds[-1])
        if rounds:
            assert {STOPPED: "stop", SPENT: "length"}[why] == finished(events).reason
            ends.add(why)
    assert ends == {STOPPED, SPENT}
