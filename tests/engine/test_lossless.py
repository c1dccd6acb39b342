"""Laws of exactness: the speculative modes say what `ar` says, token for token, and keep exact causal caches."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from engine.events import Event, Finished, FinishReason, SpecRound
from engine.plan import Plan
from engine.request import Mode
from engine.session import Session
from tests.engine.harness import (
    EXACT_MODES,
    MODES,
    asked,
    causal_attend,
    decoded,
    drafter,
    finished,
    model,
    output,
    play,
    snapshot,
)  # fmt: skip
from tests.engine.passes import Room

LENGTHS = (1, 2, 3, 4, 5, 6, 7, 8, 16, 32)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("lora", [True, False], ids=["lora", "no-lora"])
@pytest.mark.parametrize("mode", EXACT_MODES)
def test_self_speculation_is_autoregression(mode: Mode, lora: bool, temperature: float) -> None:
    """For every block length the ids, log-probabilities and end equal those of `ar`, with and without a drafter LoRA."""
    given = model(seed=3, lora=lora)
    truth = decoded(given, asked(Mode.AR, tokens=21, temperature=temperature))
    for block in LENGTHS:
        events = decoded(given, asked(mode, tokens=21, temperature=temperature, block=block))
        assert output(events) == output(truth)
        assert finished(events).output_digest == finished(truth).output_digest
        assert finished(events).reason is FinishReason.LENGTH


@pytest.mark.parametrize("mode", EXACT_MODES)
@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 127, 128, 129, 250, 300])
def test_any_prompt_length(mode: Mode, length: int) -> None:
    """Equality holds for prompts around every tile and chunk border."""
    prompt = tuple((5 * n + length) % 99 for n in range(length))
    truth = decoded(model(), asked(Mode.AR, prompt, tokens=14, temperature=0.8))
    assert output(decoded(model(), asked(mode, prompt, tokens=14, temperature=0.8))) == output(truth)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("mode", EXACT_MODES)
def test_stop_ids_and_budgets_anywhere_in_a_block(mode: Mode, temperature: float) -> None:
    """A stop id at any place, and a budget of any size, ends the answer exactly where it ends that of `ar`."""
    whole = output(decoded(model(5), asked(Mode.AR, tokens=12, temperature=temperature)))
    right = drafter(lambda position: whole[min(position - 3, 11)])
    for place in range(12):
        stop = asked(mode, tokens=12, temperature=temperature, block=5, stop=(whole[place],))
        end = whole.index(whole[place]) + 1
        for events, reason in (play(model(5), stop), play(model(5), stop, right)):
            assert output(events) == whole[:end] and reason is FinishReason.STOP
        budget = asked(mode, tokens=place + 1, temperature=temperature, block=5)
        for events, reason in (play(model(5), budget), play(model(5), budget, right)):
            assert output(events) == whole[: place + 1] and reason is FinishReason.LENGTH


def reference(prompt: tuple[int, ...], temperature: float) -> tuple[int, ...]:
    """A long `ar` answer, for drafters that know the future."""
    return output(decoded(model(), asked(Mode.AR, prompt, tokens=80, temperature=temperature)))


def rounds(events: list[object]) -> list[SpecRound]:
    """The speculation rounds of a generation."""
    return [event for event in events if isinstance(event, SpecRound)]


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("block", [2, 4, 8])
@pytest.mark.parametrize("mode", EXACT_MODES)
def test_a_perfect_drafter(mode: Mode, block: int, temperature: float) -> None:
    """Drafts that are always right are all accepted; text is that of `ar`, and forwards follow the formula."""
    prompt = (1, 5, 9)
    truth = reference(prompt, temperature)
    events, _ = play(model(), asked(mode, prompt, 26, temperature=temperature, block=block), drafter(lambda p: truth[p - 3]))
    assert output(events) == truth[:26]
    full = block - 1 if mode is Mode.LINEAR_SPEC else block
    assert {found.accepted for found in rounds([*events])} == {full}
    needed = -(-25 // block)
    assert finished(events).rounds == needed
    assert finished(events).forwards == needed, "a pass a round: the prompt's pass drafts the first block"


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("block", [2, 4, 8])
@pytest.mark.parametrize("mode", EXACT_MODES)
def test_a_drafter_that_is_always_wrong(mode: Mode, block: int, temperature: float) -> None:
    """Drafts that are always wrong are never accepted and cost only passes: one token a round, text that of `ar`."""
    prompt = (1, 5, 9)
    truth = reference(prompt, temperature)
    events, _ = play(
        model(), asked(mode, prompt, 20, temperature=temperature, block=block), drafter(lambda p: (truth[p - 3] + 1) % 100)
    )
    assert output(events) == truth[:20]
    assert {found.accepted for found in rounds([*events])} == {0 if mode is Mode.LINEAR_SPEC else 1}
    assert finished(events).rounds == 19
    assert finished(events).forwards == (1 + 2 * 18 if mode is Mode.LINEAR_SPEC else 19)


def unsure(choose: Callable[[int], int], chance: float) -> Callable[[Plan, Tensor], Tensor]:
    """A drafter that gives `choose(absolute position)` this chance, and leaves the rest to the id behind it."""
    certain = drafter(choose)

    def rewrite(plan: Plan, logits: Tensor) -> Tensor:
        changed = certain(plan, logits)
        for row in (changed != logits).any(1).nonzero()[:, 0].tolist():
            best = int(changed[row].argmax())
            changed[row, best], changed[row, (best + 1) % 100] = math.log(chance), math.log(1 - chance)
        return changed

    return rewrite


@pytest.mark.parametrize(("chance", "passes"), [(0.9, 5), (0.8, 1 + 2 * 4)])
def test_only_behind_a_promising_draft_is_the_next_drafted(chance: float, passes: int) -> None:
    """Four tokens that hold rather than not let their verification draft on; behind others that takes a pass."""
    truth = reference((1, 5, 9), 0.0)
    request = asked(Mode.LINEAR_SPEC, tokens=26, block=5, temperature=0.0)
    events, _ = play(model(), request, unsure(lambda p: truth[p - 3], chance))
    assert output(events) == truth[:26]
    assert finished(events).rounds == 5 and finished(events).forwards == passes


@pytest.mark.parametrize("mode", EXACT_MODES)
def test_a_drafter_that_is_sometimes_right(mode: Mode) -> None:
    """Acceptance is exactly the run of right drafts: every third position wrong gives rounds cut at those positions."""
    truth = reference((1, 5, 9), 0.8)
    choose: Callable[[int], int] = lambda p: truth[p - 3] if p % 3 else (truth[p - 3] + 1) % 100  # noqa: E731
    events, _ = play(model(), asked(mode, tokens=40, temperature=0.8, block=8), drafter(choose))
    assert output(events) == truth[:40]
    for found in rounds([*events]):
        right = 0
        while right < 7 and found.draft[right + 1] == truth[found.start + right + 1 - 3]:
            right += 1
        assert found.accepted == right + (mode is Mode.QUADRATIC_SPEC)


@pytest.mark.parametrize("mode", [Mode.AR, *EXACT_MODES])
def test_the_cache_is_that_of_a_causal_prefill(mode: Mode) -> None:
    """After every pass the committed cache is, bit for bit, a causal prefill of the tokens so far."""
    truth, room, lengths = reference((1, 5, 9), 0.8), Room(), set()

    def watch(session: Session) -> None:
        filled = session.cache.filled
        lengths.add(filled)
        assert torch.equal(snapshot(session.cache), snapshot(room.prefilled((1, 5, 9, *truth)[:filled])))

    half = drafter(lambda p: truth[p - 3] if p % 4 else 1)
    play(model(), asked(mode, tokens=20, temperature=0.8, block=6), half, watch)
    assert len(lengths) > 4


@pytest.mark.parametrize("mode", MODES)
def test_a_literal_mask_id_is_an_ordinary_token(mode: Mode) -> None:
    """A prompt that holds the mask id is served in every mode, and the mask id is never output."""
    prompt = (100, 5, 100, 100)
    events = decoded(model(), asked(mode, prompt, tokens=20, temperature=1.5))
    assert len(output(events)) == 20 and 100 not in output(events)
    if mode is not Mode.DIFFUSION:
        assert output(events) == output(decoded(model(), asked(Mode.AR, prompt, tokens=20, temperature=1.5)))


@pytest.mark.parametrize("mode", [Mode.AR, *EXACT_MODES])
def test_logprobs_are_the_verifier_s(mode: Mode) -> None:
    """Each output id carries the log-probability of the causal pass at temperature 1, the same bits in every mode."""

    def logprobs(events: list[Event]) -> list[float]:
        return [value for event in events if hasattr(event, "logprob") for value in event.logprob]

    found = decoded(model(2), asked(mode, tokens=17, temperature=0.8, block=4))
    assert logprobs(found) == logprobs(decoded(model(2), asked(Mode.AR, tokens=17, temperature=0.8)))
    tokens, network = torch.tensor([(1, 5, 9, *output(found))]), model(2).network
    raw = network.logits(network(tokens, torch.arange(tokens.shape[1])[None], causal_attend)[0, 2:-1])
    wanted = raw.log_softmax(-1).gather(1, tokens[0, 3:, None])[:, 0]
    assert logprobs(found) == pytest.approx(wanted.tolist(), abs=1e-4) and len(wanted) == 17


def test_other_seeds_and_choices_give_other_texts() -> None:
    """Seed and choice both move the text at a temperature above 0, and neither does at 0."""
    texts = {
        output(decoded(model(), asked(Mode.AR, temperature=1.0, seed=seed, choice=choice)))
        for seed in (1, 2)
        for choice in (0, 1)
    }
    greedy = {output(decoded(model(), asked(Mode.AR, seed=seed))) for seed in (1, 2)}
    assert len(texts) == 4 and len(greedy) == 1


@pytest.mark.parametrize("mode", EXACT_MODES)
def test_block_length_one_is_autoregression_pass_for_pass(mode: Mode) -> None:
    """At block length 1 nothing is drafted and a round costs what a token of `ar` costs."""
    closing = finished(decoded(model(), asked(mode, tokens=9, block=1)))
    assert isinstance(closing, Finished)
    assert closing.forwards == finished(decoded(model(), asked(Mode.AR, tokens=9))).forwards == 8
