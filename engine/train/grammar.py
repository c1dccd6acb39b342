"""A compositional grammar of small Python tasks with executable truth.

Promise: `task(seed, split)` is a pure function of its arguments; the answer is a deterministic function of
the prompt's meaning, in one code style; expected results come from composed callables, never from running the
answer; a composition (family, filter, map, reduction) belongs to exactly one split, chosen by its SHA-256.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from hashlib import sha256
from random import Random
from typing import Generic, NewType, TypeVar

from engine.train.components import (
    NOUNS,
    NUMBERS,
    VERBS,
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

HELD_OUT_PERCENT = 15
CASES = 6
LETTERS = "abcdeilmnorst"
SAMPLE_WORDS = (
    "level", "Noon", "apple", "Bread", "stone", "TREE", "noon", "a", "", "sand", "Ocean", "moss", "civic",
    "lantern", "Bottle", "it", "radar", "silver", "note", "table", "dress", "ember", "cat", "ROAD",
)  # fmt: skip

SENTENCES = (
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
    """One hidden test: the single argument of the function and the result it must return."""

    argument: list[int] | list[str]
    expected: object


@dataclass(frozen=True, slots=True)
class Task:
    """A request in English, its one right answer in fenced code, and hidden cases to judge any other."""

    prompt: str
    answer: str
    function: str
    composition: Key
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Composition(Generic[T]):
    """One filter, map and reduction of a family, before names, constants and phrasing are chosen."""

    family: Family[T]
    keep: Filter[T]
    change: Map[T]
    fold: Reduction[T]

    @property
    def key(self) -> Key:
        """The identity that decides the split."""
        return Key((self.family.name, self.keep.name, self.change.name, self.fold.name))


@dataclass(frozen=True, slots=True)
class _Choice:
    """The names and constants of one task, as they are written in prompt and answer."""

    function: str
    parameter: str
    kept: str
    changed: str


def split_of(key: Key) -> Split:
    """The only split in which the composition occurs; stable across machines and versions."""
    percent = int.from_bytes(sha256("/".join(key).encode()).digest()[:8], "big") % 100
    return Split.HELD_OUT if percent < HELD_OUT_PERCENT else Split.TRAIN


def task(seed: int, split: Split) -> Task:
    """The task of this seed; every integer is a valid seed."""
    random = Random(f"{split}:{seed}")
    numbers, words = _numbers(split), _words(split)
    index = random.randrange(len(numbers) + len(words))
    if index < len(numbers):
        return _task(random, numbers[index], _integer_constant, _integer_sample)
    return _task(random, words[index - len(numbers)], _text_constant, _word_sample)


def compositions(split: Split) -> tuple[Key, ...]:
    """Every composition of the split, in the grammar's order."""
    return tuple(c.key for c in _numbers(split)) + tuple(c.key for c in _words(split))


@cache
def _numbers(split: Split) -> tuple[Composition[int], ...]:
    return tuple(_compositions(NUMBERS, split))


@cache
def _words(split: Split) -> tuple[Composition[str], ...]:
    return tuple(_compositions(WORDS, split))


def _compositions(family: Family[T], split: Split) -> list[Composition[T]]:
    found = []
    for keep in family.filters:
        for change in family.maps:
            for fold in family.reductions:
                blind = fold.mapped is Mapped.BLIND and change.clauses
                composition = Composition(family, keep, change, fold)
                if not blind and split_of(composition.key) is split:
                    found.append(composition)
    return found


def _task(
    random: Random,
    parts: Composition[T],
    constant: Callable[[Random, Constant], T],
    sample: Callable[[Random, T], list[T]],
) -> Task:
    function = f"{random.choice(VERBS)}_{random.choice(NOUNS)}"
    parameter = random.choice(parts.family.parameters)
    kept, changed = constant(random, parts.keep.constant), constant(random, parts.change.constant)
    chosen = _Choice(function, parameter, str(kept), str(changed))
    prompt, answer = _prompt(random, parts, chosen), _answer(parts, chosen)
    return Task(prompt, answer, function, parts.key, _cases(random, parts, kept, changed, sample))


def _prompt(random: Random, parts: Composition[T], chosen: _Choice) -> str:
    clauses = []
    if parts.keep.clauses:
        clauses.append(random.choice(parts.keep.clauses).replace("{k}", chosen.kept))
    if parts.change.clauses:
        clauses.append(random.choice(parts.change.clauses).replace("{k}", chosen.changed))
    clauses.append(random.choice(parts.fold.clauses))
    third: list[str] = [_third_person(clause) for clause in clauses]
    return random.choice(SENTENCES).format(
        function=chosen.function,
        parameter=chosen.parameter,
        kind=parts.family.kind,
        orders=_sentence(clauses),
        acts=_sentence(third),
        takes=_sentence([f"takes {parts.family.kind}", *third]),
    )


def _answer(parts: Composition[T], chosen: _Choice) -> str:
    kept = parts.keep.title.replace("{k}", chosen.kept)
    what = parts.change.title.replace("{k}", chosen.changed).replace("{}", kept)
    step = parts.fold.step.replace("{}", parts.change.code.replace("{k}", chosen.changed))
    lines = [
        f"def {chosen.function}({chosen.parameter}):",
        f'    """Return {parts.fold.title.replace("{}", what)}."""',
        f"    result = {parts.fold.start}",
        f"    for {parts.family.item} in {chosen.parameter}:",
    ]
    if parts.keep.code:
        lines += [f"        if {parts.keep.code.replace('{k}', chosen.kept)}:", f"            {step}"]
    else:
        lines.append(f"        {step}")
    lines.append(f"    return {parts.fold.finish}")
    return "```python\n" + "\n".join(lines) + "\n```"


def _cases(
    random: Random, parts: Composition[T], kept: T, changed: T, sample: Callable[[Random, T], list[T]]
) -> tuple[Case, ...]:
    arguments: list[list[T]] = [[]]
    arguments += [sample(random, kept) for _ in range(CASES - 1)]
    cases = []
    for argument in arguments:
        passed = [parts.change.apply(item, changed) for item in argument if parts.keep.test(item, kept)]
        cases.append(Case(argument, parts.fold.apply(passed)))
    return tuple(cases)


def _integer_constant(random: Random, constant: Constant) -> int:
    return random.randint(2, 20) if constant is Constant.NUMBER else 0


def _text_constant(random: Random, constant: Constant) -> str:
    if constant is Constant.LENGTH:
        return str(random.randint(2, 9))
    return random.choice(LETTERS) if constant is Constant.LETTER else ""


def _integer_sample(random: Random, constant: int) -> list[int]:
    """Six integers; the filter's constant and a multiple of it are always among them, to test borders."""
    drawn = [constant, constant * random.randint(-3, 3)] + [random.randint(-25, 25) for _ in range(4)]
    random.shuffle(drawn)
    return drawn


def _word_sample(random: Random, constant: str) -> list[str]:
    """Six words; where the filter's constant is a letter, two of them wear it at an end."""
    drawn = random.choices(SAMPLE_WORDS, k=6)
    if constant.isdigit():
        drawn[0], drawn[1] = "x" * int(constant), "y" * (int(constant) + 1)
    elif constant:
        drawn[0], drawn[1] = constant + drawn[0], drawn[1] + constant
    random.shuffle(drawn)
    return drawn


def _sentence(clauses: Sequence[str]) -> str:
    return clauses[0] if len(clauses) == 1 else ", ".join(clauses[:-1]) + " and " + clauses[-1]


def _third_person(clause: str) -> str:
    verb, rest = clause.split(" ", 1)
    return f"{verb[:-1]}ies {rest}" if verb.endswith("ly") else f"{verb}s {rest}"
