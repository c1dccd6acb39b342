"""Small functions from English: over one list, over a list and a limit, and with a dictionary as the result."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from random import Random
from typing import Any, Final

from engine.train.components import Constant
from engine.train.grammar import (
    SENTENCES,
    TABLE_SUBJECTS,
    Case,
    Composition,
    Names,
    Split,
    Task,
    compositions_of,
    fenced,
    function_name,
    plain_compositions,
    request,
    task,
)
from engine.train.tasks.chat import Chat, User
from engine.train.tasks.checks import CodeCheck
from engine.train.tasks.exercise import Exercise, Kind

SENTENCES_OF_TWO: Final = (
    "Write a Python function named `{function}` that takes {kind} `{parameter}` and {sort} `{second}`. It {acts}.",
    "Write `{function}({parameter}, {second})` in Python. Given {kind} and {sort}, {orders}.",
    "Given {kind} `{parameter}` and {sort} `{second}`, {orders}. Name the function `{function}`.",
    "Define `{function}`: from {kind} called `{parameter}` and {sort} called `{second}`, {orders}.",
)
SECONDS: Final = {
    Constant.NUMBER: ("an integer", ("limit", "bound", "number", "n")),
    Constant.LENGTH: ("an integer", ("size", "length", "width", "n")),
    Constant.LETTER: ("a letter", ("letter", "char", "mark")),
}


def of_task(made: Task) -> Exercise:
    """A task of the grammar as an exercise."""
    return Exercise(Kind.FUNCTION, Chat((User(made.prompt),)), made.answer, CodeCheck(made.function, made.cases))


def exercise(random: Random, split: Split) -> Exercise:
    """Half of them over one list, the others in equal parts of two arguments and with a dictionary."""
    share = random.random()
    if share < 0.5:
        return of_task(task(random.getrandbits(48), split))
    return _of_two(random, split) if share < 0.75 else _of_table(random, split)


def _of_table(random: Random, split: Split) -> Exercise:
    parts: Composition[Any] = random.choice(compositions_of(random.choice(TABLE_SUBJECTS), split))
    kept, changed = parts.constants(random)
    names = Names(function_name(random, split), (random.choice(parts.subject.family.parameters),), str(kept), str(changed))
    cases = tuple(Case((argument,), expected) for argument, expected in parts.samples(random, kept, changed))
    return _made(request(random, parts, names, SENTENCES), parts, names, cases)


def _of_two(random: Random, split: Split) -> Exercise:
    """A composition whose filter takes its constant as the second argument."""
    plain = random.choice(_with_constant(split))
    sort, seconds = SECONDS[plain.keep.constant]
    first, second = random.choice(plain.subject.family.parameters), random.choice(seconds)
    kept, changed = plain.constants(random)
    names = Names(function_name(random, split), (first, second), second, str(changed))
    passed = int(kept) if plain.keep.constant is Constant.LENGTH else kept
    cases = tuple(Case((argument, passed), expected) for argument, expected in plain.samples(random, kept, changed))
    parts = _lifted(plain)
    text = request(random, parts, names, SENTENCES_OF_TWO, sort=sort, second=second)
    return _made(text, parts, names, cases)


def _made(text: str, parts: Composition[Any], names: Names, cases: tuple[Case, ...]) -> Exercise:
    return Exercise(Kind.FUNCTION, Chat((User(text),)), fenced(parts.code(names)), CodeCheck(names.function, cases))


@cache
def _with_constant(split: Split) -> tuple[Composition[Any], ...]:
    return tuple(parts for parts in plain_compositions(split) if parts.keep.constant is not Constant.NONE)


def _lifted(parts: Composition[Any]) -> Composition[Any]:
    """The same composition, whose filter speaks of a name where it spoke of a constant."""
    keep = parts.keep
    clauses = tuple(clause.replace('"{k}"', "{k}").replace("{k}", "`{k}`") for clause in keep.clauses)
    return replace(parts, keep=replace(keep, clauses=clauses, code=keep.code.replace('"{k}"', "{k}")))
