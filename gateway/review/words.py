"""Single ids as a person reads them: model text on one line, and a name for what has no text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Final, TypeAlias

from gateway.review.marks import on_a_line

Decode: TypeAlias = Callable[[tuple[int, ...]], bytes]
MASK: Final = "░"
WORD_MOST: Final = 80
END: Final = "⟨end⟩"
BLANK: Final = "␣"


class Words:
    """Reads ids by the tokenizer's `decode`; `ends` are the ids that end an answer."""

    def __init__(self, decode: Decode, ends: Iterable[int]) -> None:
        self.decode, self._ends = decode, frozenset(ends)
        self.of = cache(self._of)

    def _of(self, token: int) -> str:
        """One id, at most `WORD_MOST` characters, none of them without a shape."""
        if token in self._ends:
            return END
        text = on_a_line(self.decode((token,)).decode("utf-8", "replace"))
        if not text:
            return f"⟨{token}⟩"
        return text if len(text) <= WORD_MOST else f"{text[: WORD_MOST - 1]}…"

    def alone(self, token: int) -> str:
        """The same where it stands by itself: of blanks there would be nothing to see."""
        word = self.of(token)
        return word if word.strip() else BLANK * len(word)

    def phrase(self, ids: Sequence[int]) -> str:
        """Several ids in one, on a line."""
        return on_a_line(self.decode(tuple(ids)).decode("utf-8", "replace")) or " ".join(map(self.of, ids))
