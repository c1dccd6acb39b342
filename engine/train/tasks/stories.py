"""Errands over drawn tools: what the user wants, the calls that it takes, what each gives, and the sentence at the end.

Promise: a step follows from the request and the results before it, and from nothing else. So a story may be cut before any
step, and what comes next is the one right answer to what came before.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from engine.train.grammar import Split
from engine.train.tasks import words
from engine.train.tasks.chat import Call, Chat, Reply, Result, Tool, Turn, User
from engine.train.tasks.tools import Made, arguments, call, integer, make, mention, order, others, text

FAILURES: Final = ("not found", "permission denied", "timed out", "already exists", "connection refused", "invalid argument")

POLITE: Final = ("{}.", "Please {}.", "I need you to {}.", "Can you {}?", "{}, please.", "Now {}.")
TELL: Final = ("{} and tell me the {}.", "{}. What is the {}?", "Please {} and tell me its {}.", "I need the {1}: {0}.")
FIND: Final = ("{}, then {} it{}.", "{} and {} it{}.", "First {}. Then {} it{}.")

FIELDS: Final = ("status", "owner", "total", "city", "priority", "version", "size", "color", "level", "due day")


@dataclass(frozen=True, slots=True)
class Step:
    """One call and what it gave."""

    call: Call
    result: str


@dataclass(frozen=True, slots=True)
class Story:
    """A whole errand; `tools` are those that it needs and those that only lie there."""

    tools: tuple[Tool, ...]
    request: str
    steps: tuple[Step, ...]
    final: str

    def before(self, cut: int) -> Chat:
        """All that was said before the step of that number; `len(steps)` is the end."""
        turns: list[Turn] = [User(self.request)]
        for step in self.steps[:cut]:
            turns += [step.call, Result(step.result)]
        return Chat(tuple(turns), self.tools)

    def next(self, cut: int) -> Reply:
        """What the assistant says there."""
        return self.steps[cut].call if cut < len(self.steps) else self.final


def errand(random: Random, split: Split) -> Story:
    """One story over drawn tools."""
    return random.choice((act, act, ask, chain))(random, split)


def act(random: Random, split: Split) -> Story:
    """One order; the result names what was done."""
    made = make(random, split, words.VERBS)
    given = arguments(random, split, made)
    number = random.randint(2, 9999)
    result = json.dumps({"status": random.choice(("ok", "done")), "id": number})
    request = _polite(random, order(random, made, given))
    step = _troubled(random, Step(call(made, given), result))
    return Story(_among(random, split, made), request, (step,), _ended(step, f"Done: {made.noun} {number}."))


def ask(random: Random, split: Split) -> Story:
    """One question about one field of what a call gives."""
    made = make(random, split, words.READS)
    given = arguments(random, split, made)
    fields = random.sample(FIELDS, random.randint(2, 4))
    record = {field.replace(" ", "_"): _fact(random, split, field) for field in fields}
    asked = random.choice(fields)
    request = _capital(random.choice(TELL).format(order(random, made, given), asked))
    step = _troubled(random, Step(call(made, given), json.dumps(record)))
    final = f"The {asked} is {record[asked.replace(' ', '_')]}."
    return Story(_among(random, split, made), request, (step,), _ended(step, final))


def chain(random: Random, split: Split) -> Story:
    """Find something by its name, then do something to it by the number that was found.

    A finder of a name alone belongs to the training split, so the exam's have a second parameter; training shows both.
    """
    while True:
        finder = make(random, split, words.READS, first=(text("name", words.noun),), most=int(split is Split.TRAIN))
        number = integer(f"{finder.noun}_id", 2, 9999)
        actor = make(random, split, words.VERBS, finder.noun, first=(number,), most=1)
        if actor.noun == finder.noun:
            break
    sought, given = arguments(random, split, finder), arguments(random, split, actor)
    with_ = "".join(f" with {mention(random, name, value)}" for name, value in given.items() if name != number.name)
    record = {number.name: given[number.name], "status": random.choice(("open", "closed", "new"))}
    request = _capital(random.choice(FIND).format(order(random, finder, sought), random.choice(actor.verbs), with_))
    first = _troubled(random, Step(call(finder, sought), json.dumps(record)))
    tools = _among(random, split, actor, finder)
    if _failed(first):
        return Story(tools, request, (first,), _ended(first, ""))
    second = _troubled(random, Step(call(actor, given), json.dumps({"status": "ok"})))
    return Story(tools, request, (first, second), _ended(second, f"Done: {actor.noun} {given[number.name]}."))


def failure(random: Random) -> str:
    """A result that says why nothing came of a call."""
    return f"Error: {random.choice(FAILURES)}"


def sorry(result: str) -> str:
    """What is said about such a result."""
    return f"The call failed: {result.removeprefix('Error: ')}."


def _troubled(random: Random, step: Step) -> Step:
    return replace(step, result=failure(random)) if random.random() < 0.1 else step


def _failed(step: Step) -> bool:
    return step.result.startswith("Error: ")


def _ended(last: Step, final: str) -> str:
    return sorry(last.result) if _failed(last) else final


def _among(random: Random, split: Split, *made: Made) -> tuple[Tool, ...]:
    """The needed tools with up to three that are not, shuffled; no two mean the same."""
    meant = {(each.verbs, each.noun) for each in made}
    names = {each.tool.name for each in made}
    idle = [
        each
        for each in others(random, split, made[0], random.randint(0, 3))
        if (each.verbs, each.noun) not in meant and each.tool.name not in names
    ]
    tools = [each.tool for each in (*made, *idle)]
    random.shuffle(tools)
    return tuple(tools)


def _fact(random: Random, split: Split, field: str) -> str | int:
    draws: dict[str, Callable[[], str | int]] = {
        "status": lambda: random.choice(("open", "closed", "pending", "ready")),
        "owner": lambda: words.person(random, split),
        "city": lambda: words.city(random, split),
        "priority": lambda: random.choice(("low", "medium", "high")),
        "color": lambda: random.choice(words.COLORS),
    }
    return draws.get(field, lambda: random.randint(1, 999))()


def _polite(random: Random, said: str) -> str:
    return _capital(random.choice(POLITE).format(said))


def _capital(said: str) -> str:
    return said[0].upper() + said[1:]
