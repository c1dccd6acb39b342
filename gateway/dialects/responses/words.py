"""How a streamed text is cut into deltas: by the text alone, never by the clock or by what was committed together.

So an answer has the same events with the same numbers whenever it is told, and a stream can be taken up at any of them, after a
restart as well, from nothing but the recorded text.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 48
_WORD: Final = re.compile(r"\s*\S+(?=\s)")


class Words:
    """Pieces of one text, in order: white space and the word after it, or `LONGEST` characters of what is longer."""

    def __init__(self) -> None:
        self._kept = ""

    def feed(self, text: str) -> list[str]:
        """The pieces that are whole once `text` has come."""
        kept, place, found = self._kept + text, 0, list[str]()
        while size := _first(kept, place):
            found.append(kept[place : place + size])
            place += size
        self._kept = kept[place:]
        return found

    def rest(self) -> list[str]:
        """What was kept back, now that the text is over; at most one piece."""
        kept, self._kept = self._kept, ""
        return [kept] if kept else []


def _first(text: str, place: int) -> int:
    """The length of the piece that begins at `place`; 0 while its end is not known."""
    word = _WORD.match(text, place, place + LONGEST + 1)
    if word is not None:
        return word.end() - place
    return LONGEST if len(text) - place >= LONGEST else 0
