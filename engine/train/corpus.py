"""Training examples in chat form.

Promise: an example is a pure function of (seed, split, mixture), whatever came before: a run's data never depends on its speed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from engine.tokenizer import Tokenizer
from engine.train.grammar import Split
from engine.train.tasks import Exercise, Kind, exercise
from engine.train.tasks.chat import Chat, ids, prompt, spoken

CHARACTERS_PER_TOKEN: Final = 3
"""Fewer than any long text of this corpus has, so that a first attempt rarely comes out too long."""

SHORTEST_LONG: Final = 512
"""Tokens from which the long share of a mixture is drawn, evenly in the logarithm."""

MARGIN: Final = 384
"""Tokens that an exercise takes itself, at most, before anything is put around it."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """How often each kind comes, in parts; `long` is the share set amid long contexts, none above `limit` tokens in all."""

    parts: tuple[tuple[Kind, int], ...]
    long: float = 0.0
    limit: int = 4096


FUNCTIONS: Final = Mixture(((Kind.FUNCTION, 1),), limit=1024)
"""Functions alone, as short as they come."""

WHOLE: Final = Mixture(((Kind.FUNCTION, 18), (Kind.TOOL, 32), (Kind.TURNS, 16), (Kind.EDIT, 10), (Kind.JSON, 24)), long=0.02)
"""Everything; what is learnt soonest, functions and edits, comes less often."""


@dataclass(frozen=True, slots=True)
class Example:
    """A whole conversation: `ids[:prompt_length]` is the prompt and assistant opening; the last id is eos."""

    ids: tuple[int, ...]
    prompt_length: int


def example(seed: int, split: Split, tokenizer: Tokenizer, mixture: Mixture = FUNCTIONS) -> Example:
    """The exercise with this seed as ids: prompt, answer, end of turn."""
    for made in _attempts(seed, split, mixture):
        asked = prompt_ids(made.chat, tokenizer)
        whole = (*asked, *ids(tokenizer, spoken(made.answer)), tokenizer.eos_id)
        if len(whole) <= mixture.limit:
            break
    return Example(whole, len(asked))


def drawn(seed: int, split: Split, mixture: Mixture) -> Exercise:
    """The exercise with this seed, at the length that is tried first."""
    return next(_attempts(seed, split, mixture))


def prompt_ids(chat: Chat, tokenizer: Tokenizer) -> list[int]:
    """The conversation up to where the assistant answers."""
    return ids(tokenizer, prompt(chat))


def _attempts(seed: int, split: Split, mixture: Mixture) -> Iterator[Exercise]:
    """One exercise amid less and less, and at last by itself."""
    random = Random(f"mixture:{split}:{seed}")
    kinds, weights = zip(*mixture.parts, strict=True)
    (kind,) = random.choices(kinds, weights)
    if random.random() < mixture.long:
        most = max(SHORTEST_LONG, mixture.limit - MARGIN)
        tokens = math.exp(random.uniform(math.log(SHORTEST_LONG), math.log(most)))
        characters = int(tokens * CHARACTERS_PER_TOKEN)
        while characters > SHORTEST_LONG:
            yield exercise(seed, split, kind, characters)
            characters = characters * 3 // 4
    yield exercise(seed, split, kind)
