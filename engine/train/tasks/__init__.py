"""Exercises of five kinds with executable truth, drawn from a seed.

Promise: `exercise` is a pure function of its arguments; the answer follows from the conversation alone; what one split holds
(compositions, function names, tool names, schemas, coined words, paths) never occurs in the other.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from engine.train.grammar import Split
from engine.train.tasks import coding, context, edits, extraction, functions, stories
from engine.train.tasks.checks import CallCheck, Check, TextCheck
from engine.train.tasks.exercise import Exercise, Kind
from engine.train.tasks.stories import Story

__all__ = ["Exercise", "Kind", "exercise"]


def exercise(seed: int, split: Split, kind: Kind, characters: int = 0) -> Exercise:
    """The exercise of this seed, amid about so many `characters` of what clients send around a question."""
    random = Random(f"{kind}:{split}:{seed}")
    made = _DRAWS[kind](random, split)
    if characters:
        return context.surrounded(random, split, made, characters)
    return context.introduced(random, made)


def _tool(random: Random, split: Split) -> Exercise:
    """The first step of an errand: over drawn tools, and in training sometimes over those that every client has."""
    known = split is Split.TRAIN and random.random() < 0.2
    return _cut(Kind.TOOL, coding.errand(random, split) if known else stories.errand(random, split), 0)


def _turns(random: Random, split: Split) -> Exercise:
    """A later step of an errand, after at least one result."""
    story = random.choice((stories.errand, coding.errand))(random, split)
    return _cut(Kind.TURNS, story, random.randint(1, len(story.steps)))


def _cut(kind: Kind, story: Story, cut: int) -> Exercise:
    answer = story.next(cut)
    check: Check = TextCheck(answer) if isinstance(answer, str) else CallCheck(story.tools, answer)
    return Exercise(kind, story.before(cut), answer, check)


_DRAWS: Final[dict[Kind, Callable[[Random, Split], Exercise]]] = {
    Kind.FUNCTION: functions.exercise,
    Kind.TOOL: _tool,
    Kind.TURNS: _turns,
    Kind.EDIT: edits.exercise,
    Kind.JSON: extraction.exercise,
}
