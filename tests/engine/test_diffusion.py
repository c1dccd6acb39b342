"""Laws of block diffusion."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from engine.events import BlockDecoded, Event, FinishReason, RunDecoded
from engine.plan import Flag, Plan
from engine.request import Mode
from engine.session import Session
from tests.engine.harness import asked, decoded, drafter, finished, model, output, play, snapshot
from tests.engine.passes import Room

PROMPT = (1, 5, 9)


def blocks(events: list[Event]) -> list[BlockDecoded]:
    """The blocks of a generation."""
    return [event for event in events if isinstance(event, BlockDecoded)]


def ask(tokens: int = 24, **changes: Any) -> list[Event]:
    """The events of one diffusion generation on the small model."""
    return decoded(model(), asked(Mode.DIFFUSION, PROMPT, tokens, **changes))


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"threshold": 0.0}, 1),
        ({"threshold": 2.0}, 7),
        ({"threshold": None}, 7),
        ({"threshold": None, "max_steps": 3}, 3),
        ({"threshold": 2.0, "max_steps": 2}, 2),
        ({"threshold": 0.0, "seed_first": False}, 1),
        ({"threshold": 2.0, "seed_first": False}, 8),
        ({"threshold": None, "seed_first": False}, 8),
    ],
)
def test_step_counts(changes: dict[str, Any], steps: int) -> None:
    """Threshold 0 takes one step a block, an unreachable one a step per mask, a schedule its own count; one pass commits."""
    events = ask(**changes)
    assert [len(block.steps) for block in blocks(events)] == [steps] * 3
    assert [block.forwards for block in blocks(events)] == [steps + 1] * 3
    assert finished(events).forwards == 3 * (steps + 1) and finished(events).steps == 3 * steps


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_seeded_block_of_one_is_autoregression(temperature: float) -> None:
    """At block length 1 every token is the causal seed: the text of `ar`, one pass a block."""
    events = ask(block=1, temperature=temperature)
    assert output(events) == output(decoded(model(), asked(Mode.AR, PROMPT, temperature=temperature)))
    assert finished(events).forwards == finished(events).blocks == 24 and finished(events).steps == 0


@pytest.mark.parametrize("seed_first", [True, False])
@pytest.mark.parametrize("block", [1, 3, 8, 16])
def test_the_cache_is_that_of_a_causal_prefill(block: int, seed_first: bool) -> None:
    """After every pass the committed cache is, bit for bit, a causal prefill of prompt and blocks."""

    room = Room()

    def watch(session: Session) -> None:
        whole = room.prefilled(session.tokens[: session.cache.filled])
        assert torch.equal(snapshot(session.cache), snapshot(whole))

    request = asked(Mode.DIFFUSION, PROMPT, tokens=20, block=block, seed_first=seed_first, threshold=0.2)
    play(model(), request, watch=watch)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("threshold", [0.05, 0.3, None])
def test_steps_tell_the_whole_story(threshold: float | None, temperature: float) -> None:
    """Masks only ever open, by the rule: the best position, and with a threshold all that reach it; ids never change."""
    for block in blocks(ask(threshold=threshold, temperature=temperature, max_steps=8)):
        masked = (False, *[True] * 7)
        known = [block.tokens[0], *[None] * 7]
        for step in block.steps:
            assert step.masked == masked
            open_to = [(-step.confidence[i], i) for i in range(8) if masked[i]]
            best = min(open_to)[1]
            reach = {i for value, i in open_to if threshold is not None and -value >= threshold}
            assert {i for i in range(8) if step.committed[i]} == {best} | reach
            assert all(step.confidence[i] == 0 and step.proposal[i] == known[i] for i in range(8) if not masked[i])
            for i in range(8):
                if step.committed[i]:
                    known[i] = step.proposal[i]
                    assert block.commit_confidence[i] == step.confidence[i]
            masked = tuple(held and not opened for held, opened in zip(masked, step.committed, strict=True))
        assert not any(masked) and tuple(known) == block.tokens and block.commit_confidence[0] == 1.0


def test_the_causal_pass_scores_every_token() -> None:
    """Verifier log-probability and agreement of each block are those of `ar` logits over the same tokens."""
    events = ask(threshold=0.2)
    tokens = PROMPT + output(events)
    for block in blocks(events):
        for index, token in enumerate(block.tokens):
            before = asked(Mode.AR, tokens[: block.start + index], tokens=1)
            run = next(event for event in decoded(model(), before) if isinstance(event, RunDecoded))
            assert block.agreement[index] == (run.output == (token,))
            if block.agreement[index]:
                assert block.verifier_logprob[index] == run.logprob[0]
        assert block.agreement[0] and all(value <= 0 for value in block.verifier_logprob)


def test_blocks_join_without_gap() -> None:
    """Blocks are numbered from 0 and each starts where the one before ended."""
    found = blocks(ask(tokens=30))
    assert [(block.index, block.start) for block in found] == [(n, 3 + 8 * n) for n in range(4)]
    assert [block.emitted for block in found] == [8, 8, 8, 6]


@pytest.mark.parametrize("budget", [1, 7, 8, 9])
def test_the_budget_cuts_a_whole_block(budget: int) -> None:
    """The last block is denoised whole and its output cut: a smaller budget gives a prefix of the same text."""
    events = ask(tokens=budget)
    assert output(events) == output(ask(tokens=24))[:budget]
    assert finished(events).reason is FinishReason.LENGTH and len(blocks(events)[-1].tokens) == 8


@pytest.mark.parametrize("place", [1, 3, 7])
def test_a_stop_id_ends_the_block(place: int) -> None:
    """Denoising ends once a stop id has no mask before it; positions behind it repeat it and are not output."""
    ids = {3 + place: 42}
    request = asked(Mode.DIFFUSION, PROMPT, 24, threshold=None, stop=(42,))
    events, reason = play(model(), request, drafter(lambda position: ids.get(position, 50)))
    (block,) = blocks(events)
    assert reason is FinishReason.STOP
    assert block.emitted == place + 1 and len(block.steps) == place
    assert block.tokens[place:] == (42,) * (8 - place) and block.commit_confidence[place + 1 :] == (0.0,) * (7 - place)


def test_a_stop_id_behind_a_mask_does_not_end_the_block() -> None:
    """A stop id that was committed early waits for the masks before it."""

    def rewrite(plan: Plan, logits: Tensor) -> Tensor:
        if not int(plan.field(2)[0]) & Flag.NOISY:
            return logits
        sure = torch.zeros_like(logits)
        sure[:, 50], sure[torch.from_numpy(plan.wanted) == 4, 42] = 3.0, 9.0
        return sure

    request = asked(Mode.DIFFUSION, PROMPT, 24, threshold=0.9, stop=(42,))
    (block,) = blocks(play(model(), request, rewrite)[0])
    assert block.steps[0].committed.index(True) == 4
    assert block.emitted == 5 and len(block.steps) == 4


def test_a_stop_id_as_the_seed() -> None:
    """When the causal seed is a stop id the block ends at once, without a denoise step."""
    seed = output(ask())[0]
    events = ask(stop=(seed,))
    assert output(events) == (seed,) and finished(events).forwards == 1 and finished(events).reason is FinishReason.STOP
