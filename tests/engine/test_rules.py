"""Laws of what a row knows of the tokens before it: penalties' counts and the thinking budget, written out row by row."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.plan import Lora, Step, ahead, clean, noisy, quadratic
from engine.request import Mode
from engine.rules import RowRules
from tests.engine.harness import asked

VOCAB, THINK, UNTHINK, MASK = 20, 14, 15, 16
TOKENS = st.lists(st.integers(0, 15), min_size=1, max_size=8)
STEPS = st.one_of(
    TOKENS.map(clean),
    TOKENS.map(lambda tokens: noisy((tokens[0], *(MASK,) * len(tokens)), Lora.ON)),
    TOKENS.map(lambda tokens: noisy((*tokens, MASK), Lora.OFF, only=(0, len(tokens)))),
    TOKENS.map(lambda tokens: quadratic(tokens, MASK, Lora.ON)),
    TOKENS.map(lambda tokens: ahead(clean(tokens), len(tokens) + 1, MASK)),
)


def contexts(known: list[int], step: Step) -> list[list[int]]:
    """For each wanted row all that stands before the token it picks, as far as it is known."""
    frame, found = step.frame, []
    for row in step.wanted.tolist():
        if row < frame.clean:
            found.append([*known, *step.tokens[: row + 1]])
        elif frame.clean:
            found.append([*known, *step.tokens[: int(frame.rows[1, row]) + 1]])
        else:
            found.append([*known, *step.tokens[:row]])
    return found


@settings(max_examples=150)
@given(TOKENS, TOKENS, STEPS, st.lists(st.integers(1, 3), min_size=1, max_size=9))
def test_counts_are_of_the_answer_before_the_row(prompt: list[int], answer: list[int], step: Step, cuts: list[int]) -> None:
    """Committed in pieces of any size, each row counts the answer before it and has seen prompt and answer before it."""
    rules = RowRules(asked(Mode.AR, prompt, frequency_penalty=1.0), VOCAB, (THINK, UNTHINK))
    known, start = [*prompt, *answer], 0
    for size in cuts * len(known):
        rules.commit(known[start : start + size], start)
        start += len(known[start : start + size])
    found = rules.of(step, len(known))
    assert found is not None and found.output_counts is not None and found.seen is not None
    for row, context in enumerate(contexts(known, step)):
        own = context[len(prompt) :]
        assert found.output_counts[row, :MASK].tolist() == [own.count(token) for token in range(MASK)]
        assert found.seen[row, :MASK].tolist() == [token in context for token in range(MASK)]


def open_for(context: list[int]) -> int | None:
    """How many tokens the thought that is open at the end of `context` has, None if none is."""
    closed = max((place for place, token in enumerate(context) if token == UNTHINK), default=-1)
    opened = next((place for place, token in enumerate(context) if place > closed and token == THINK), None)
    return None if opened is None else len(context) - opened - 1


@settings(max_examples=150)
@given(TOKENS, TOKENS, TOKENS.map(clean), st.integers(0, 5))
def test_a_thought_is_closed_when_its_budget_is_spent(prompt: list[int], answer: list[int], step: Step, budget: int) -> None:
    """A causal row must pick the closing id exactly where the thought before it has been open for `budget` tokens or more."""
    rules = RowRules(asked(Mode.AR, prompt, think_budget=budget), VOCAB, (THINK, UNTHINK))
    known = [*prompt, *answer]
    rules.commit(known, 0)
    found = rules.of(step, len(known))
    assert found is not None and found.forced is not None
    for row, context in enumerate(contexts(known, step)):
        length = open_for(context)
        assert found.forced[row] == (UNTHINK if length is not None and length >= budget else -1)


def test_nothing_asked_costs_nothing() -> None:
    """Without penalties, filters, constraint or budget a row is subject to no rules at all."""
    rules = RowRules(asked(Mode.AR, (1, 2), temperature=1.0), VOCAB, (THINK, UNTHINK))
    rules.commit((1, 2), 0)
    assert rules.of(clean((3,)), 2) is None
