"""Laws of training examples: where the answer begins, how long they are, and how little it takes to make them."""

from __future__ import annotations

import sys
from collections import Counter
from statistics import mean
from types import FrameType

import pytest

from engine.train.corpus import FUNCTIONS, WHOLE, Example, Mixture, drawn, example
from engine.train.grammar import Split
from engine.train.tasks import Kind
from engine.train.tasks.chat import heard
from tests.engine.harness import tokenizer
from tests.engine.train.made import reply

TOKENIZER = tokenizer()
SPLITS = tuple(Split)
LONG = Mixture(WHOLE.parts, long=1.0)


def examples(mixture: Mixture, count: int, split: Split = Split.TRAIN) -> list[Example]:
    """The first examples of a mixture."""
    return [example(seed, split, TOKENIZER, mixture) for seed in range(count)]


@pytest.mark.parametrize("mixture", [FUNCTIONS, WHOLE])
@pytest.mark.parametrize("split", SPLITS)
def test_an_example_is_the_prompt_then_the_answer(split: Split, mixture: Mixture) -> None:
    """Ids split at the prompt length into chat prompt and answer with end of turn; only calls hold special ids."""
    for seed, ready in enumerate(examples(mixture, 200, split)):
        made, answer = drawn(seed, split, mixture), ready.ids[ready.prompt_length :]
        assert answer[-1] == TOKENIZER.eos_id and heard(TOKENIZER, answer) == reply(made)
        assert ready.ids[ready.prompt_length - 1] == TOKENIZER.id_of("</think>")
        assert set(answer[:-1]) & TOKENIZER.special <= {14, 15}


def test_an_example_follows_from_its_seed() -> None:
    """Order and repetition change nothing, and another seed or split is another example."""
    forth = examples(WHOLE, 60)
    assert [example(seed, Split.TRAIN, TOKENIZER, WHOLE) for seed in reversed(range(60))] == forth[::-1]
    assert len(set(forth)) > 58 and not set(forth) & set(examples(WHOLE, 60, Split.HELD_OUT))


def test_the_splits_share_no_example_of_the_whole_mixture() -> None:
    """No prompt with its answer occurs in both."""
    train, held_out = (set(examples(WHOLE, 1500, split)) for split in SPLITS)
    assert not train & held_out


def test_kinds_come_as_often_as_they_should() -> None:
    """Shares of the kinds are those of the mixture, within three standard errors or so."""
    counts = Counter(drawn(seed, Split.TRAIN, WHOLE).kind for seed in range(2000))
    for kind, part in WHOLE.parts:
        assert abs(counts[kind] / 2000 - part / 100) < 0.035


def test_short_examples_are_short() -> None:
    """Without long contexts an example has fewer than 250 tokens on average and never more than 640."""
    lengths = [len(ready.ids) for ready in examples(Mixture(WHOLE.parts), 600)]
    assert mean(lengths) < 250 and max(lengths) < 640
    assert max(len(ready.ids) for ready in examples(FUNCTIONS, 300)) <= 257


def test_long_examples_reach_the_limit_and_keep_it() -> None:
    """Lengths spread over the whole range up to 4,096 tokens, and none is above."""
    lengths = [len(ready.ids) for ready in examples(LONG, 160)]
    assert max(lengths) <= 4096 and max(lengths) > 3300 and min(lengths) < 900
    assert sum(length > 2048 for length in lengths) > 30


@pytest.mark.parametrize("limit", [640, 1024])
def test_a_lower_limit_is_kept(limit: int) -> None:
    """A model of less context gets the same questions amid less."""
    mixture = Mixture(WHOLE.parts, long=1.0, limit=limit)
    assert max(len(ready.ids) for ready in examples(mixture, 100)) <= limit


def test_only_functions_are_drawn_by_default() -> None:
    """Without a mixture an example is a function alone."""
    assert all(drawn(seed, Split.TRAIN, FUNCTIONS).kind is Kind.FUNCTION for seed in range(50))
    assert example(3, Split.TRAIN, TOKENIZER) == example(3, Split.TRAIN, TOKENIZER, FUNCTIONS)


def test_training_is_not_starved() -> None:
    """Examples take less than five calls of a function per token, which one core makes for 100,000 tokens a second."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        made = [example(seed, Split.TRAIN, TOKENIZER, WHOLE) for seed in range(10_000, 10_450)]
    finally:
        sys.setprofile(before)
    assert 0 < calls < 5 * sum(len(ready.ids) for ready in made)
