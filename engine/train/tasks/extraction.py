"""JSON answers: a schema, a sentence, and the object that holds what the sentence says.

Promise: the keys of a schema, in their order and with their types, belong to one split by SHA-256. A key that may be null is
null exactly when the sentence does not speak of it, and a number whose key wants a string is written as one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from engine.train.grammar import Split, listed, split_of
from engine.train.tasks import words
from engine.train.tasks.chat import Chat, User, Value
from engine.train.tasks.checks import JsonCheck
from engine.train.tasks.exercise import Exercise, Kind
from engine.train.tasks.schema import closed
from engine.train.tasks.tools import SLOTS


@dataclass(frozen=True, slots=True)
class Field:
    """Something that a scene speaks of: the keys under which it may be asked for, and how its values are drawn."""

    name: str
    keys: tuple[str, ...]
    draw: Callable[[Random, Split], str | int]


@dataclass(frozen=True, slots=True)
class Scene:
    """A kind of sentence with a place for every field."""

    sentences: tuple[str, ...]
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One key of the answer: its schema and its value."""

    key: str
    schema: dict[str, Any]
    value: Value


DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
JOBS: Final = ("welder", "teacher", "nurse", "pilot", "baker", "lawyer", "painter", "farmer", "chemist", "editor")

SCENES: Final = (
    Scene(
        ("{name} is {age} years old, lives in {city} and works as a {job}.",
         "{name}, {age}, from {city}, is a {job}.",
         "A {job} from {city} called {name} has just turned {age}."),
        (Field("name", ("name", "person", "full_name"), words.person),
         Field("age", ("age", "years"), lambda random, split: random.randint(18, 90)),
         Field("city", ("city", "home", "town"), words.city),
         Field("job", ("job", "profession", "occupation"), lambda random, split: random.choice(JOBS))),
    ),
    Scene(
        ("Please send {quantity} {color} {item}s to {city}.",
         "{quantity} {item}s in {color} go to {city}.",
         "We need {quantity} of the {color} {item}s in {city}."),
        (Field("quantity", ("quantity", "count", "amount"), lambda random, split: random.randint(2, 500)),
         Field("color", ("color", "shade"), lambda random, split: random.choice(words.COLORS)),
         Field("item", ("item", "product", "article"), words.noun),
         Field("city", ("city", "destination", "place"), words.city)),
    ),
    Scene(
        ("We meet on {day} at {hour} in room {room} to talk about the {topic}.",
         "{day}, {hour} o'clock, room {room}: the {topic}.",
         "The {topic} is discussed on {day} in room {room} from {hour}."),
        (Field("day", ("day", "weekday", "date"), lambda random, split: random.choice(DAYS)),
         Field("hour", ("hour", "time", "start"), lambda random, split: random.randint(7, 21)),
         Field("room", ("room", "room_number", "location"), lambda random, split: random.randint(100, 999)),
         Field("topic", ("topic", "subject", "theme"), words.phrase)),
    ),
    Scene(
        ("Server {host} in {region} listens on port {port} and is {status}.",
         "{host} ({region}, port {port}) is {status}.",
         "The {region} server {host} is {status}; its port is {port}."),
        (Field("host", ("host", "server", "hostname"), words.coin),
         Field("region", ("region", "zone", "site"), lambda random, split: random.choice(("north", "south", "east", "west"))),
         Field("port", ("port", "port_number"), lambda random, split: random.randint(1000, 9999)),
         Field("status", ("status", "state", "condition"), lambda random, split: random.choice(("up", "down", "idle")))),
    ),
    Scene(
        ('"{title}" by {author} came out in {year} and has {pages} pages.',
         '{author} wrote "{title}" in {year}, on {pages} pages.',
         'In {year} {author} published "{title}" ({pages} pages).'),
        (Field("title", ("title", "book", "work"), words.phrase),
         Field("author", ("author", "writer"), words.person),
         Field("year", ("year", "published"), lambda random, split: random.randint(1900, 2030)),
         Field("pages", ("pages", "page_count", "length"), lambda random, split: random.randint(40, 900))),
    ),
    Scene(
        ("{function} in {path} fails on line {line} with {error}.",
         "Line {line} of {path}: {error} in {function}.",
         "We see {error} in {function}, line {line} of {path}."),
        (Field("function", ("function", "symbol"), words.identifier),
         Field("path", ("path", "file", "module"), words.path),
         Field("line", ("line", "line_number", "row"), lambda random, split: random.randint(1, 900)),
         Field("error", ("error", "exception", "problem"),
               lambda random, split: random.choice(("TypeError", "KeyError", "ValueError", "IndexError", "OSError")))),
    ),
)  # fmt: skip

ASKED: Final = (
    "Answer with a JSON object of this schema:\n{schema}\n\n{sentence}",
    "{sentence}\n\nExtract this as JSON with the schema\n{schema}",
    "Fill this JSON schema from the text.\n\nSchema: {schema}\n\nText: {sentence}",
)


def exercise(random: Random, split: Split) -> Exercise:
    """Two in three over a scene, the others over keys and values that only a list of facts connects."""
    while True:
        sentence, wanted = _of_scene(random, split) if random.random() < 0.67 else _of_facts(random, split)
        if split_of(("json", *(f"{each.key}:{each.schema['type']}" for each in wanted))) is split:
            break
    schema = closed({each.key: each.schema for each in wanted}, [each.key for each in wanted])
    value = {each.key: each.value for each in wanted}
    asked = random.choice(ASKED).format(schema=json.dumps(schema), sentence=sentence)
    return Exercise(Kind.JSON, Chat((User(asked),)), json.dumps(value), JsonCheck(schema, value))


def _of_scene(random: Random, split: Split) -> tuple[str, list[Wanted]]:
    scene = random.choice(SCENES)
    facts = {field.name: field.draw(random, split) for field in scene.fields}
    fields = random.sample(scene.fields, random.randint(2, len(scene.fields)))
    wanted = [_wanted(random, random.choice(field.keys), facts[field.name]) for field in fields]
    if random.random() < 0.25:
        strange = random.choice([field for other in SCENES if other is not scene for field in other.fields])
        if not {key for field in scene.fields for key in field.keys} & set(strange.keys):
            wanted.insert(random.randint(0, len(wanted)), _missing(strange.keys[0], strange.draw(random, split)))
    return random.choice(scene.sentences).format(**facts), wanted


def _of_facts(random: Random, split: Split) -> tuple[str, list[Wanted]]:
    slots = random.sample(SLOTS, random.randint(3, 5))
    facts = [(slot, slot.draw(random, split)) for slot in slots]
    told = [_fact(slot.name.replace("_", " "), value) for slot, value in facts]
    kept = sorted(random.sample(facts, random.randint(2, len(facts))), key=lambda fact: random.random())
    wanted = [Wanted(slot.name, slot.parameter.schema(), value) for slot, value in kept]
    return f"{told[0][0].upper()}{listed(told)[1:]}.", wanted


def _fact(name: str, value: Value) -> str:
    if isinstance(value, bool):
        return f"{name} is {'on' if value else 'off'}"
    if isinstance(value, list):
        return f"the {name} are {listed(value)}"
    return f"the {name} is {value}"


def _wanted(random: Random, key: str, value: str | int) -> Wanted:
    if isinstance(value, int) and random.random() < 0.25:
        return Wanted(key, {"type": "string"}, str(value))
    kind = "integer" if isinstance(value, int) else "string"
    return Wanted(key, {"type": [kind, "null"] if random.random() < 0.1 else kind}, value)


def _missing(key: str, value: str | int) -> Wanted:
    return Wanted(key, {"type": ["integer" if isinstance(value, int) else "string", "null"]}, None)
