"""The words of requests, tool names and values, and how new ones are made.

Promise: a coined word, a path or an identifier belongs to one split by its SHA-256, so those of the exam were never trained on.
Common words are shared by both; what is held out of them is their combinations (`tools.py`, `extraction.py`).
"""

from __future__ import annotations

from random import Random
from typing import Final

from engine.train.grammar import Split, split_of

VERBS: Final = (
    ("create", "make", "add"), ("delete", "remove", "erase"), ("update", "change", "modify"), ("send", "deliver", "mail"),
    ("start", "launch", "begin"), ("stop", "halt", "end"), ("copy", "duplicate", "clone"), ("move", "shift", "transfer"),
    ("archive", "store", "shelve"), ("export", "dump", "extract"), ("check", "verify", "validate"), ("lock", "freeze"),
    ("publish", "share", "release"), ("merge", "join", "combine"), ("schedule", "plan", "book"), ("close", "finish"),
    ("approve", "accept", "confirm"), ("reject", "decline", "refuse"), ("print", "render", "draw"), ("restore", "recover"),
    ("convert", "transform"), ("enable", "activate"), ("disable", "deactivate"), ("assign", "give"), ("rename", "relabel"),
)  # fmt: skip
"""Groups of one meaning each. A tool is named by one word of its group and may be asked for by another."""

READS: Final = (("get", "fetch", "load"), ("find", "locate", "show"))
"""Groups that ask for something and change nothing."""

NOUNS: Final = (
    "ticket", "invoice", "user", "order", "report", "image", "message", "event", "note", "record", "payment", "booking",
    "account", "server", "branch", "label", "contract", "customer", "device", "playlist", "photo", "comment", "article",
    "backup", "shipment", "team", "room", "channel", "page", "session", "policy", "alert", "job", "queue", "bucket", "package",
    "product", "review", "route", "sensor", "recipe", "survey", "course", "lesson", "match", "camera", "door", "lamp", "robot",
)  # fmt: skip

ADJECTIVES: Final = (
    "blue", "red", "green", "old", "new", "small", "large", "quiet", "bright", "early", "late", "short", "long", "open",
    "broken", "weekly", "daily", "urgent", "public", "final", "first", "second", "north", "south", "silver", "round",
)  # fmt: skip

PEOPLE: Final = (
    "Anna", "Ben", "Clara", "David", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Karim", "Lena", "Mara", "Nils",
    "Olga", "Paul", "Rosa", "Samir", "Tara", "Ulla", "Viktor", "Wanda", "Yusuf", "Zoe",
)  # fmt: skip
CITIES: Final = (
    "Oslo", "Paris", "Berlin", "Lima", "Cairo", "Delhi", "Tokyo", "Rome", "Madrid", "Vienna", "Quito", "Accra", "Bergen",
    "Porto", "Dublin", "Hanoi",
)  # fmt: skip
COLORS: Final = ("black", "white", "red", "blue", "green", "yellow", "brown", "orange", "purple", "grey")
FOLDERS: Final = ("src", "tests", "docs", "data", "notes", "lib", "app", "config")
ENDINGS: Final = ("py", "txt", "md", "json", "csv", "toml")

_ONSETS: Final = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "kl", "st", "tr", "gr", "pl")
_VOWELS: Final = "aeiou"
_CODAS: Final = ("", "", "l", "n", "r", "s", "x", "k", "m", "t")


def coin(random: Random, split: Split) -> str:
    """A word of two or three syllables that means nothing and belongs to the split."""
    while True:
        count = 2 + (random.random() < 0.3)
        parts = (random.choice(_ONSETS) + random.choice(_VOWELS) + random.choice(_CODAS) for _ in range(count))
        word = "".join(parts)
        if split_of(("word", word)) is split:
            return word


def noun(random: Random, split: Split) -> str:
    """A thing; one in four is coined."""
    return _coined_or_known(random, split, 0.25)


def subject(random: Random, split: Split) -> str:
    """What a tool is about; half are coined in training, one in four in the exam."""
    return _coined_or_known(random, split, 0.5 if split is Split.TRAIN else 0.25)


def _coined_or_known(random: Random, split: Split, coined: float) -> str:
    return coin(random, split) if random.random() < coined else random.choice(NOUNS)


def phrase(random: Random, split: Split) -> str:
    """Two or three words, as a title or a text has them."""
    words = [random.choice(ADJECTIVES), noun(random, split)]
    if random.random() < 0.3:
        words.insert(1, random.choice(ADJECTIVES))
    return " ".join(words)


def person(random: Random, split: Split) -> str:
    """A first name; one in four is coined."""
    return coin(random, split).capitalize() if random.random() < 0.25 else random.choice(PEOPLE)


def city(random: Random, split: Split) -> str:
    """A city; one in four is coined."""
    return coin(random, split).capitalize() if random.random() < 0.25 else random.choice(CITIES)


def path(random: Random, split: Split, ending: str = "", folder: str = "") -> str:
    """A relative path of the split with a folder and an ending."""
    while True:
        name = noun(random, split)
        if random.random() < 0.5:
            name = f"{name}_{random.choice(NOUNS)}"
        found = f"{folder or random.choice(FOLDERS)}/{name}.{ending or random.choice(ENDINGS)}"
        if split_of(("path", found)) is split:
            return found


def identifier(random: Random, split: Split) -> str:
    """A name in snake case, as code has it, of the split."""
    while True:
        first, second = random.choice(random.choice(VERBS)), noun(random, split)
        if split_of(("identifier", first, second)) is split:
            return f"{first}_{second}"
