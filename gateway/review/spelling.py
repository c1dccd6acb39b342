"""How a text may stand in an answer: as it is, or as JSON spells it; and which letter of it stands where."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final, TypeAlias

Spelling: TypeAlias = Callable[[str], str]
"""Spells a text letter by letter: what two texts become together is what each becomes."""


def _plain(text: str) -> str:
    return text


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _ascii(text: str) -> str:
    return json.dumps(text)[1:-1]


def _json_twice(text: str) -> str:
    return _json(_json(text))


def _ascii_twice(text: str) -> str:
    return _ascii(_ascii(text))


SPELLINGS: Final[tuple[Spelling, ...]] = (_plain, _json, _ascii, _json_twice, _ascii_twice)
"""Twice where a call gives its arguments as a text that is JSON itself. What a model escapes without need is not found."""


def find(content: str, text: str, start: int) -> tuple[Spelling, int, int] | None:
    """How and where `content` comes next in `text`, and where it ends; None where it does not."""
    for spelling in SPELLINGS if content else ():
        spelled = spelling(content)
        place = text.find(spelled, start)
        if place >= 0:
            return spelling, place, place + len(spelled)
    return None


def places(content: str, spelling: Spelling, start: int) -> Iterator[int]:
    """Where each letter of `content` begins in a text in which it is spelled so from `start` on."""
    lengths = {letter: len(spelling(letter)) for letter in set(content)}
    return accumulate((lengths[letter] for letter in content[:-1]), initial=start)
