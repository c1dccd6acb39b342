"""Two drafts side by side, token by token or word by word, with what is common kept together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from typing import Final

PAIRS_MOST: Final = 1_000_000
"""Old parts times new parts that are compared; beyond, what differs is one change."""
_WORDS: Final = re.compile(r"\w+|[^\S\n]+|\n|[^\w\s]")


class Side(StrEnum):
    """Where a part stands."""

    BOTH = "both"
    OLD = "old"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of text of one side or of both."""

    side: Side
    text: str


def words_in(text: str) -> list[str]:
    """Words, blanks, ends of lines and signs; joined they are the text."""
    return _WORDS.findall(text)


def difference(old: Sequence[str], new: Sequence[str]) -> tuple[Part, ...]:
    """How `old` became `new`: joined, parts of both and of OLD are the old text, of both and of NEW the new one."""
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    middle = _middle(old[head : len(old) - tail], new[head : len(new) - tail])
    parts = [Part(Side.BOTH, "".join(old[:head])), *middle, Part(Side.BOTH, "".join(old[len(old) - tail :]))]
    return tuple(_joined(part for part in parts if part.text))


def _common(old: Sequence[str], new: Sequence[str]) -> int:
    """How many leading parts are equal."""
    for place, (left, right) in enumerate(zip(old, new, strict=False)):
        if left != right:
            return place
    return min(len(old), len(new))


def _middle(old: Sequence[str], new: Sequence[str]) -> Iterator[Part]:
    if len(old) * len(new) > PAIRS_MOST:
        yield from (Part(Side.OLD, "".join(old)), Part(Side.NEW, "".join(new)))
        return
    for tag, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            yield Part(Side.BOTH, "".join(old[a:b]))
        else:
            yield Part(Side.OLD, "".join(old[a:b]))
            yield Part(Side.NEW, "".join(new[c:d]))


def _joined(parts: Iterator[Part]) -> Iterator[Part]:
    """Neighbours of one side as one."""
    last: Part | None = None
    for part in parts:
        if last is not None and last.side is part.side:
            last = Part(part.side, last.text + part.text)
            continue
        if last is not None:
            yield last
        last = part
    if last is not None:
        yield last
