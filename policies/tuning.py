"""Effective values: what a client wished for, clamped to what the document permits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from policies.facts import RequestFacts
from policies.limits import Limits
from policies.modes import Knobs


@dataclass(frozen=True, slots=True)
class Tuned:
    """The knobs of one request, with a rule `clamp:<knob>` for each wish that was not granted as asked."""

    block_length: int
    threshold: float | None
    max_steps: int
    seed_first: bool
    max_tokens: int
    rules: tuple[str, ...]


_SILENT: Final = (None,) * 5


def tune(knobs: Knobs, limits: Limits, facts: RequestFacts) -> Tuned:
    """Clamp every wish of `facts`."""
    length = knobs.block_length.effective(facts.block_length)
    threshold = None if knobs.threshold is None else knobs.threshold.effective(facts.threshold)
    steps = knobs.max_steps.effective(facts.max_steps)
    seed_first = knobs.seed_first.effective(facts.seed_first)
    tokens = limits.answer_tokens(facts.max_tokens)
    if (facts.block_length, facts.threshold, facts.max_steps, facts.seed_first, facts.max_tokens) == _SILENT:
        return Tuned(length, threshold, steps, seed_first, tokens, ())
    wishes: tuple[tuple[str, float | None, float | None], ...] = (
        ("block_length", facts.block_length, length),
        ("threshold", facts.threshold, threshold),
        ("max_steps", facts.max_steps, steps),
        ("seed_first", facts.seed_first, seed_first),
        ("max_tokens", facts.max_tokens, tokens),
    )
    rules = tuple(f"clamp:{name}" for name, asked, given in wishes if asked is not None and asked != given)
    return Tuned(length, threshold, steps, seed_first, tokens, rules)
