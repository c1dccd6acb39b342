"""A compositional grammar of small Python tasks with executable truth.

Promise: `task(seed, split)` is a pure function of its arguments; the answer is a deterministic function of the prompt's
meaning, in one code style; expected results come from composed callables, never from running the answer; a composition
(family, filter, map, reduction) belongs to exactly one split, chosen by its SHA-256, and so does a function's name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from hashlib import sha256
from random import Random
from typing import Any, Final, Generic, NewType, TypeVar

from engine.train.cases import LISTS, integer_constant, integer_sample, text_constant, word_sample
from engine.train.components import (
    NOUNS,
    NUMBER_TABLES,
    NUMBERS,
    VERBS,
    WORD_TABLES,
    WORDS,
    Constant,
    Family,
    Filter,
    Map,
    Mapped,
    Reduction,
)

T = TypeVar("T", int, str)
Key = NewType("Key", tuple[str, str, str, str])

HELD_OUT_PERCENT: Final = 15
FENCE_START, FENCE_END = "```python\n", "\n```"

SENTENCES: Final = (
    "Write a Python function named `{function}` that takes {kind} `{parameter}`. It {acts}.",
    "Write `{function}({parameter})` in Python. Given {kind}, {orders}.",
    "I need a Python function `{function}` with one parameter `{parameter}`, {kind}. It {acts}.",
    "Please implement `{function}({parameter})`, which {takes}.",
    "Given {kind} `{parameter}`, {orders}. Name the function `{function}`.",
    "Define `{function}`: from {kind} called `{parameter}`, {orders}.",
)


class Split(StrEnum):
    """Which compositions may be drawn: those trained on, or those never seen in training."""

    TRAIN = "train"
    HELD_OUT = "held_out"


@dataclass(frozen=True, slots=True)
class Case:
    """One hidden test: the arguments of the function and the result it must return.

    With `names`, which are as many as the arguments, they are passed by name and otherwise by place.
    """

    arguments: tuple[object, ...]
    expected: object
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """A request in English, its one right answer in fenced code, and hidden cases to judge any other."""

    prompt: str
    answer: str
    function: str
    composition: Key
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """What one function is called, its parameters (the list first) and its constants, as they are written."""

    function: str
    parameters: tuple[str, ...]
    kept: str
    changed: str


@dataclass(frozen=True, slots=True)
class Subject(Generic[T]):
    """A family, and how its constants and arguments are drawn."""

    family: Family[T]
    constant: Callable[[Random, Constant], T]
    sample: Callable[[Random, T], list[T]]


@dataclass(frozen=True, slots=True)
class Composition(Generic[T]):
    """One filter, map and reduction of a family, before names, constants and phrasing are chosen."""

    subject: Subject[T]
    keep: Filter[T]
    change: Map[T]
    fold: Reduction[T]

    @property
    def key(self) -> Key:
        """The identity that decides the split."""
        return Key((self.subject.family.name, self.keep.name, self.change.name, self.fold.name))

    @property
    def sensible(self) -> bool:
        """Whether the reduction can tell that the elements were mapped, if they were."""
        return self.fold.mapped is Mapped.SEES or not self.change.clauses

    def constants(self, random: Random) -> tuple[T, T]:
        """One constant for the filter and one for the map."""
        constant = self.subject.constant
        return constant(random, self.keep.constant), constant(random, self.change.constant)

    def clauses(self, random: Random, names: Names) -> list[str]:
        """The order in English, one clause a component, each in one of its phrasings."""
        clauses: list[str] = []
        if self.keep.clauses:
            clauses.append(random.choice(self.keep.clauses).replace("{k}", names.kept))
        if self.change.clauses:
            clauses.append(random.choice(self.change.clauses).replace("{k}", names.changed))
        return [*clauses, random.choice(self.fold.clauses)]

    def code(self, names: Names) -> str:
        """The function in the one style of this grammar."""
        family, first = self.subject.family, names.parameters[0]
        what = self.change.title.replace("{k}", names.changed).replace("{}", self.keep.title.replace("{k}", names.kept))
        step = self.fold.step.replace("{}", self.change.code.replace("{k}", names.changed))
        lines: list[str] = [
            f"def {names.function}({', '.join(names.parameters)}):",
            f'    """Return {self.fold.title.replace("{}", what)}."""',
            f"    result = {self.fold.start}",
            f"    for {family.item} in {first}:",
        ]
        if self.keep.code:
            lines += [f"        if {self.keep.code.replace('{k}', names.kept)}:", f"            {step}"]
        else:
            lines.append(f"        {step}")
        return "\n".join([*lines, f"    return {self.fold.finish}"])

    def samples(self, random: Random, kept: T, changed: T) -> list[tuple[list[T], object]]:
        """Hidden arguments and what must come of them, the empty list first."""
        arguments: list[list[T]] = [[]]
        arguments += [self.subject.sample(random, kept) for _ in range(LISTS - 1)]
        return [(argument, self.result(argument, kept, changed)) for argument in arguments]

    def result(self, argument: Sequence[T], kept: T, changed: T) -> object:
        """What the composed callables make of a list."""
        passed = [self.change.apply(item, changed) for item in argument if self.keep.test(item, kept)]
        return self.fold.apply(passed)


NUMBER_SUBJECT: Final = Subject(NUMBERS, integer_constant, integer_sample)
WORD_SUBJECT: Final = Subject(WORDS, text_constant, word_sample)
TABLE_SUBJECTS: Final[tuple[Subject[Any], ...]] = (
    Subject(NUMBER_TABLES, integer_constant, integer_sample),
    Subject(WORD_TABLES, text_constant, word_sample),
)


def split_of(key: tuple[str, ...]) -> Split:
    """The only split in which whatever has this identity occurs; stable across machines and versions."""
    percent = int.from_bytes(sha256("/".join(key).encode()).digest()[:8], "big") % 100
    return Split.HELD_OUT if percent < HELD_OUT_PERCENT else Split.TRAIN


def task(seed: int, split: Split) -> Task:
    """The task of this seed over one list of numbers or strings; every integer is a valid seed."""
    random = Random(f"{split}:{seed}")
    parts = random.choice(plain_compositions(split))
    function = function_name(random, split)
    parameter = random.choice(parts.subject.family.parameters)
    kept, changed = parts.constants(random)
    names = Names(function, (parameter,), str(kept), str(changed))
    prompt = request(random, parts, names, SENTENCES)
    cases = tuple(Case((argument,), expected) for argument, expected in parts.samples(random, kept, changed))
    return Task(prompt, fenced(parts.code(names)), function, parts.key, cases)


def compositions(split: Split) -> tuple[Key, ...]:
    """Every composition of the split from which `task` draws, in the grammar's order."""
    return tuple(parts.key for parts in plain_compositions(split))


@cache
def plain_compositions(split: Split) -> tuple[Composition[Any], ...]:
    """Those of one list that give a number, a string or a list."""
    return (*compositions_of(NUMBER_SUBJECT, split), *compositions_of(WORD_SUBJECT, split))


@cache
def compositions_of(subject: Subject[T], split: Split) -> tuple[Composition[T], ...]:
    """The sensible compositions of one subject that belong to the split."""
    family = subject.family
    made = (
        Composition(subject, keep, change, fold)
        for keep in family.filters
        for change in family.maps
        for fold in family.reductions
    )
    return tuple(parts for parts in made if parts.sensible and split_of(parts.key) is split)


def function_name(random: Random, split: Split) -> str:
    """A verb and a noun whose pair belongs to the split."""
    return random.choice(_function_names(split))


@cache
def _function_names(split: Split) -> tuple[str, ...]:
    return tuple(f"{verb}_{noun}" for verb in VERBS for noun in NOUNS if split_of(("function", verb, noun)) is split)


def request(random: Random, parts: Composition[T], names: Names, sentences: Sequence[str], **more: str) -> str:
    """The whole request in one of the given sentences; `more` fills what they ask for beyond this grammar's own."""
    clauses = parts.clauses(random, names)
    third: list[str] = [_third_person(clause) for clause in clauses]
    return random.choice(sentences).format(
        function=names.function,
        parameter=names.parameters[0],
        kind=parts.subject.family.kind,
        orders=listed(clauses),
        acts=listed(third),
        takes=listed([f"takes {parts.subject.family.kind}", *third]),
        **more,
    )


def fenced(code: str) -> str:
    """Code as an answer gives it."""
    return f"{FENCE_START}{code}{FENCE_END}"


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _third_person(clause: str) -> str:
    verb, rest = clause.split(" ", 1)
    return f"{verb[:-1]}ies {rest}" if verb.endswith("ly") else f"{verb}s {rest}"
