"""Tools that nobody wrote down: verbs by nouns by typed parameters, and requests in English that mean one call of one of them.

Promise: a tool's name (verb, noun) and its schema (its parameters' names and types) each belong to one split by SHA-256, so
that an exam's tools were never seen in training, neither called nor merely listed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Final

from engine.train.grammar import Split, listed, split_of
from engine.train.tasks import words
from engine.train.tasks.chat import Call, Parameter, Tool, Value

Group = tuple[str, ...]

COINED: Final = 0.1
"""Of the verbs in training, so that a name is read and never guessed."""

TRIES: Final = 64
"""Draws until a wish that the split seems to forbid is given up."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A parameter that any tool may take, and how its values are drawn."""

    parameter: Parameter
    draw: Callable[[Random, Split], Value]

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self.parameter.name


@dataclass(frozen=True, slots=True)
class Made:
    """A tool, what it means (a group of verbs and a noun), and its slots."""

    tool: Tool
    verbs: Group
    noun: str
    slots: tuple[Slot, ...]


def integer(name: str, least: int, most: int) -> Slot:
    """A whole number."""
    return Slot(Parameter(name, "integer"), lambda random, split: random.randint(least, most))


def text(name: str, draw: Callable[[Random, Split], str]) -> Slot:
    """Free text."""
    return Slot(Parameter(name, "string"), draw)


def choice(name: str, *choices: str) -> Slot:
    """One of a few words."""
    return Slot(Parameter(name, "string", choices), lambda random, split: random.choice(choices))


def switch(name: str) -> Slot:
    """On or off."""
    return Slot(Parameter(name, "boolean"), lambda random, split: random.random() < 0.5)


def several(name: str, draw: Callable[[Random, Split], str]) -> Slot:
    """Two or three different words."""
    return Slot(
        Parameter(name, "array"),
        lambda random, split: list(dict.fromkeys(draw(random, split) for _ in range(random.randint(2, 3)))),
    )


SLOTS: Final = (
    text("title", words.phrase), text("subject", words.phrase), text("text", words.phrase), text("reason", words.phrase),
    text("name", words.noun), text("code", words.coin), text("label", words.noun), text("category", words.noun),
    text("owner", words.person), text("author", words.person), text("recipient", words.person), text("assignee", words.person),
    text("city", words.city), text("origin", words.city), text("destination", words.city),
    text("path", words.path), text("source", words.path), text("target", words.path), text("file", words.path),
    text("color", lambda random, split: random.choice(words.COLORS)),
    integer("count", 1, 99), integer("limit", 1, 500), integer("page", 1, 90), integer("size", 1, 999),
    integer("width", 10, 999), integer("height", 10, 999), integer("days", 1, 60), integer("hours", 1, 48),
    integer("year", 1950, 2040), integer("port", 1000, 9999), integer("version", 1, 30), integer("level", 1, 9),
    integer("retries", 1, 9), integer("timeout", 5, 300), integer("max_results", 1, 50), integer("line", 1, 900),
    switch("force"), switch("recursive"), switch("public"), switch("verbose"), switch("dry_run"), switch("notify"),
    choice("priority", "low", "medium", "high"), choice("format", "json", "csv", "xml", "pdf"), choice("order", "asc", "desc"),
    choice("language", "english", "german", "french", "spanish"), choice("unit", "km", "miles", "meters"),
    choice("status", "open", "closed", "pending"), choice("mode", "fast", "safe", "full"),
    several("tags", words.noun), several("members", words.person), several("keywords", words.noun),
)  # fmt: skip


def make(
    random: Random, split: Split, verbs: Sequence[Group], noun: str | None = None, first: Sequence[Slot] = (), most: int = 3
) -> Made:
    """A tool of the split with a verb of one of the groups; `first` slots come before up to `most` others, at least one in all.

    A wished noun that hardly any of the verbs may go with gives way to another.
    """
    for attempt in count():
        thing = noun if noun and attempt < TRIES else words.subject(random, split)
        group = _group(random, split, verbs)
        verb = random.choice(group)
        if split_of(("tool", verb, thing)) is split:
            break
    slots = _slots(random, split, first, most)
    parameters = tuple(slot.parameter for slot in slots)
    required = tuple(parameter.name for parameter in parameters)
    if len(slots) > max(1, len(first)) and random.random() < 0.4:
        required = required[:-1]
    description = f"{random.choice(group).capitalize()} the {thing}."
    return Made(Tool(_named(random, verb, thing), description, parameters, required), group, thing, slots)


def _group(random: Random, split: Split, verbs: Sequence[Group]) -> Group:
    """A meaning and its words; in training some are coined and have one word."""
    if split is Split.TRAIN and random.random() < COINED:
        return (words.coin(random, split),)
    return random.choice(verbs)


def _slots(random: Random, split: Split, first: Sequence[Slot], most: int) -> tuple[Slot, ...]:
    taken = {slot.name for slot in first}
    free = [slot for slot in SLOTS if slot.name not in taken]
    for attempt in count():
        more = random.sample(free, random.randint(0 if first else 1, most + attempt // TRIES))
        slots = (*first, *more)
        key = ("schema", *(f"{slot.name}:{slot.parameter.kind}" for slot in slots))
        if split_of(key) is split:
            break
    return slots


def _named(random: Random, verb: str, thing: str) -> str:
    return f"{verb}{thing.capitalize()}" if random.random() < 0.15 else f"{verb}_{thing}"


def others(random: Random, split: Split, target: Made, number: int) -> list[Made]:
    """Tools that cannot be meant: the first shares the target's noun, the second its verb, the rest neither need nor may."""
    found: list[Made] = []
    meant = {(target.verbs, target.noun)}
    names = {target.tool.name}
    groups = (*words.VERBS, *words.READS)
    while len(found) < number:
        noun = target.noun if not found else None
        made = make(random, split, (target.verbs,) if len(found) == 1 else groups, noun)
        if (made.verbs, made.noun) not in meant and made.tool.name not in names:
            found.append(made)
            meant.add((made.verbs, made.noun))
            names.add(made.tool.name)
    return found


def arguments(random: Random, split: Split, made: Made) -> dict[str, Value]:
    """Values for the required parameters and, half of the time, for each other one; in the schema's order."""
    required = made.tool.required
    return {slot.name: slot.draw(random, split) for slot in made.slots if slot.name in required or random.random() < 0.5}


def order(random: Random, made: Made, given: Mapping[str, Value]) -> str:
    """The call as an order, without a full stop: a verb of the group, the noun, and each argument by its name."""
    told = [mention(random, name, value) for name, value in given.items()]
    random.shuffle(told)
    opening = f"{random.choice(made.verbs)} the {made.noun}"
    return f"{opening} with {listed(told)}" if told else opening


def mention(random: Random, name: str, value: Value) -> str:
    """One argument in English: its name in words and its value, quoted where it is free text."""
    called = name.replace("_", " ")
    if isinstance(value, bool):
        return f"{called} {random.choice(('set to true', 'on') if value else ('set to false', 'off'))}"
    if isinstance(value, list):
        return f"{called} " + listed([f'"{each}"' for each in value])
    if isinstance(value, int):
        return f"{called} {random.choice(('', 'of ', 'set to '))}{value}"
    return f"{called} " + random.choice(('"{}"', "`{}`", '"{}"')).format(value)


def call(made: Made, given: Mapping[str, Value]) -> Call:
    """The call that the order means."""
    return Call(made.tool.name, {slot.name: given[slot.name] for slot in made.slots if slot.name in given})
