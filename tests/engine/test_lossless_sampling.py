"""Laws of exactness under every sampling rule: the causal modes say what `ar` says, whatever shapes or ends the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.engine import Engine
from engine.events import Alternatives, Event, FinishReason, RunDecoded, SpecRound
from engine.model.checkpoint import LoadedModel
from engine.request import CAUSAL_MODES, GenerationRequest, Mode
from tests.engine.harness import asked, decoded, events_of, finished, model, output, tokenizer

VOCAB = 400
THINK, UNTHINK = (tokenizer().id_of(token) for token in ("<think>", "</think>"))
WISHES: dict[str, dict[str, Any]] = {
    "plain": {},
    "top_p": {"top_p": 0.9},
    "top_k": {"top_k": 4},
    "min_p": {"min_p": 0.05},
    "presence": {"presence_penalty": 1.8},
    "frequency": {"frequency_penalty": 1.5},
    "repetition": {"repetition_penalty": 1.7},
    "rewarded": {"frequency_penalty": -2.0, "repetition_penalty": 0.6},
    "all": {"top_p": 0.95, "top_k": 30, "min_p": 0.01, "presence_penalty": 1.0, "repetition_penalty": 1.2},
    "alternatives": {"top_logprobs": 5},
    "ruled alternatives": {"top_logprobs": 20, "top_k": 3, "frequency_penalty": 2.0},
    "thought": {"think_budget": 9, "prompt": (5, 9, THINK)},
    "no thought": {"think_budget": 0, "prompt": (5, 9, THINK)},
    "old thought": {"think_budget": 12, "prompt": (5, THINK, 7, 8, 9, 10)},
    "stop strings": {"stop_strings": tuple("abcdefghijklmnop")},
    "stop id": {"stop": tuple(range(200, 215))},
}


def told(events: Sequence[Event]) -> list[tuple[int, float]]:
    """Every output id with its log-probability."""
    pairs: list[tuple[int, float]] = []
    for event in events:
        if isinstance(event, RunDecoded | SpecRound):
            pairs += zip(event.output, event.logprob, strict=True)
    return pairs


def alternatives(events: Sequence[Event]) -> list[tuple[int, int, float]]:
    """Every alternative that was told: position, id, log-probability."""
    rows: list[tuple[int, int, float]] = []
    for event in events:
        if isinstance(event, Alternatives):
            for index, (token, logprob) in enumerate(zip(event.ids, event.logprob, strict=True)):
                rows.append((event.start + index // event.width, token, logprob))
    return rows


def same(given_model: LoadedModel, requests: Sequence[GenerationRequest]) -> list[list[Event]]:
    """Run the requests together; all must tell what the first tells. Their events."""
    found = list(events_of(Engine(given_model), *requests).values())
    first = found[0]
    for events in found:
        assert told(events) == told(first) and alternatives(events) == alternatives(first)
        assert finished(events).reason is finished(first).reason
        assert finished(events).output_digest == finished(first).output_digest
    return found


def in_all_modes(
    linear: Sequence[int], quadratic: Sequence[int], auto: Sequence[int], **wishes: Any
) -> list[GenerationRequest]:
    """One wish in `ar`, then in the other causal modes at the given block lengths."""
    pairs = ((Mode.LINEAR_SPEC, linear), (Mode.QUADRATIC_SPEC, quadratic), (Mode.AUTO, auto))
    others = [asked(mode, block=block, **wishes) for mode, blocks in pairs for block in blocks]
    return [asked(Mode.AR, **wishes), *others]


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_every_block_length_and_temperature(temperature: float) -> None:
    """Ids, log-probabilities and the end are those of `ar` at block lengths 1, 8, 16 and 32."""
    lengths = (1, 8, 16, 32)
    same(model(4, VOCAB), in_all_modes(lengths, lengths, lengths, tokens=37, temperature=temperature))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("wish", WISHES)
def test_every_rule_is_held_in_every_mode(wish: str, temperature: float) -> None:
    """Ids, log-probabilities, alternatives and the end are those of `ar` under every rule of the table."""
    requests = in_all_modes((8, 32), (7,), (16,), tokens=37, temperature=temperature, **WISHES[wish])
    events = same(model(3, VOCAB), requests)[0]
    assert len(alternatives(events)) == requests[0].top_logprobs * finished(events).tokens


@settings(max_examples=15)
@given(
    seed=st.integers(0, 5),
    prompt=st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=40),
    tokens=st.integers(1, 40),
    block=st.integers(1, 16),
    wishes=st.fixed_dictionaries(
        {},
        optional={
            "temperature": st.sampled_from((0.0, 0.7, 1.0)),
            "seed": st.integers(0, (1 << 64) - 1),
            "choice": st.integers(0, 3),
            "top_p": st.floats(0.1, 1),
            "top_k": st.integers(0, 50),
            "min_p": st.floats(0, 0.5),
            "presence_penalty": st.floats(-2, 2),
            "frequency_penalty": st.floats(-2, 2),
            "repetition_penalty": st.floats(0.5, 2),
            "think_budget": st.integers(0, 20),
            "top_logprobs": st.integers(0, 3),
            "stop": st.sets(st.integers(0, VOCAB - 1), max_size=20),
        },
    ),
)
def test_any_mixture_of_rules(seed: int, prompt: list[int], tokens: int, block: int, wishes: dict[str, Any]) -> None:
    """Over random models, prompts, keys, budgets and any mixture of rules all causal modes tell the same."""
    same(model(seed, VOCAB), in_all_modes((block,), (block,), (block,), prompt=prompt, tokens=tokens, **wishes))


@pytest.mark.parametrize("mode", [*CAUSAL_MODES, Mode.AUTO, Mode.DIFFUSION])
@pytest.mark.parametrize("budget", [0, 1, 6])
def test_a_thought_is_closed_in_time(mode: Mode, budget: int) -> None:
    """A thought that the prompt left open is closed after `think_budget` tokens at the latest, in every mode."""
    request = asked(mode, (5, THINK), 24, temperature=1.0, think_budget=budget, stop=())
    text = output(decoded(model(3, VOCAB), request))
    assert UNTHINK in text[: budget + 1]


def test_a_stop_string_ends_the_answer() -> None:
    """The answer ends with the token that completes the string, which is part of it, and no earlier token does."""
    whole = output(decoded(model(3, VOCAB), asked(Mode.AR, tokens=60, temperature=1.0)))
    letters = [index for index, token in enumerate(whole) if tokenizer().decode_bytes((token,)).isalpha() and index > 4]
    stop = tokenizer().decode_bytes((whole[letters[0]],)).decode()
    events = decoded(model(3, VOCAB), asked(Mode.AR, tokens=60, temperature=1.0, stop_strings=(stop,)))
    assert finished(events).reason is FinishReason.STOP and len(output(events)) <= letters[0] + 1
    assert output(events) == whole[: len(output(events))]
    assert stop in tokenizer().decode(output(events)) and stop not in tokenizer().decode(output(events)[:-1])


def test_penalties_and_filters_have_an_effect() -> None:
    """No rule of the table is idle: at temperature 1 each changes the text."""
    plain = decoded(model(3, VOCAB), asked(Mode.AR, tokens=37, temperature=1.0))
    for name in set(WISHES) - {"plain", "alternatives", "thought", "no thought", "old thought"}:
        assert output(decoded(model(3, VOCAB), asked(Mode.AR, tokens=37, temperature=1.0, **WISHES[name]))) != output(plain), (
            name
        )


def test_choices_are_independent_answers() -> None:
    """The choices of one prompt differ from each other and each is the same in every mode."""
    answers = set()
    for choice in range(4):
        requests = in_all_modes((8,), (8,), (8,), tokens=20, temperature=1.0, choice=choice)
        answers.add(output(same(model(3, VOCAB), requests)[0]))
    assert len(answers) == 4
