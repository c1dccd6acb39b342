"""The answer as it lies on the page: parts (text, a file, a command, ...) of numbered rows of words, each with its doubt.

Where what a call writes stands in the answer to the letter, or as JSON spells it, its rows are made of the answer's own tokens;
else they are plain. The answer of an agent follows as it was written.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Final, TypeAlias

from gateway.review.acts import Act, Calls, Changes, Gives, Requests, Runs, Says, Writes
from gateway.review.diffing import Part, Side, difference, words_in
from gateway.review.drafts import Draft
from gateway.review.marks import visible
from gateway.review.review import Review
from gateway.review.spelling import find, places
from gateway.review.tokens import Token

MARKED_MOST: Final = 20_000
"""Tokens that stand each for itself; what follows is shown whole, without marks, so that a page stays a page."""


LINES_MOST: Final = 20_000
"""Lines of a text without marks that have a row each; those that follow share rows, `TOGETHER` of them one, and stay whole."""
TOGETHER: Final = 1000


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of text on one line, of the token `token` or of none; `told` are its numbers, `struck` is what it replaced."""

    text: str
    token: int | None = None
    step: int = 0
    told: str = ""
    struck: str = ""
    frame: int = 0
    """The frame that made the token."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line, or `lines` of them; `side` is empty, `old` or `new` in a difference."""

    words: tuple[Word, ...]
    side: str = ""
    lines: int = 1


@dataclass(frozen=True, slots=True)
class Section:
    """What one act would do; `verbatim`: its rows are all of its text in the answer's own tokens."""

    kind: str
    heading: str
    rows: tuple[Row, ...]
    verbatim: bool


@dataclass(frozen=True, slots=True)
class Sheet:
    """Sections in the order of the answer; and the generated answer as it was written, where they are not simply that."""

    sections: tuple[Section, ...]
    written: tuple[Row, ...]

    @property
    def whole(self) -> bool:
        """Whether the sections leave something out of it, so that it has to be read as well."""
        return bool(self.written) and not all(section.verbatim for section in self.sections)

    @property
    def crowded(self) -> bool:
        """Whether many lines share a row somewhere."""
        return any(row.lines > 1 for section in self.sections for row in section.rows[LINES_MOST : LINES_MOST + 1])


def sheet_of(review: Review) -> Sheet:
    """The content that would leave: of the recorded tokens, or what an editor made of it."""
    if review.edited is not None:
        return Sheet(tuple(_section(act, None) for act in review.acts), written(review))
    text = _Text(review)
    sections = tuple(_section(act, text) for act in review.acts)
    calls = any(not isinstance(act, Says) for act in review.acts)
    if not calls and "".join(_letters(sections)) != text.letters:
        return Sheet((Section("text", "", text.rows(0, len(review.text)), verbatim=True),), ())
    return Sheet(sections, text.rows(0, len(review.text)) if calls else ())


def written(review: Review) -> tuple[Row, ...]:
    """All recorded tokens, whatever became of them."""
    return _Text(review).rows(0, len(review.text))


def _letters(sections: Iterable[Section]) -> Iterator[str]:
    return ("\n".join("".join(word.text for word in row.words) for row in section.rows) for section in sections)


_Piece: TypeAlias = tuple[Token | None, str]
"""A part of a text, and the token that it is of."""


class _Text:
    """The answer's text, in which what acts say is looked for from the front to the back."""

    def __init__(self, review: Review) -> None:
        self._text, self._tokens = review.text, review.tokens
        self._drafts = review.drafts
        self._ends = list(accumulate(len(token.text) for token in review.tokens))
        self._from = 0
        self.letters = visible(review.text)

    def find(self, text: str) -> tuple[Row, ...] | None:
        """The rows of a text that comes next, None where it does not stand there in any spelling."""
        found = find(text, self._text, self._from)
        if found is None:
            return None
        spelling, start, self._from = found
        if self._from - start == len(text):
            return self.rows(start, self._from)
        return self._rows(self._letters(text, places(text, spelling, start)))

    def rows(self, start: int, end: int) -> tuple[Row, ...]:
        """The rows between two places of the text."""
        return self._rows(self._pieces(start, end))

    def _rows(self, pieces: Iterable[_Piece]) -> tuple[Row, ...]:
        rows: list[list[Word]] = [[]]
        for token, part in pieces:
            head, *rest = part.split("\n")
            rows[-1].append(self._word(token, head))
            rows.extend([self._word(token, line)] for line in rest)
        return tuple(Row(tuple(word for word in row if word.text or word.struck)) for row in rows)

    def _letters(self, text: str, starts: Iterable[int]) -> Iterator[_Piece]:
        """The letters of a text, each with the token in which its spelling begins."""
        owners = (bisect_right(self._ends, start) for start in starts)
        for index, group in groupby(zip(owners, text, strict=True), key=itemgetter(0)):
            yield self._tokens[index] if index < MARKED_MOST else None, "".join(letter for _, letter in group)

    def _pieces(self, start: int, end: int) -> Iterator[_Piece]:
        first, last = bisect_right(self._ends, start), bisect_left(self._ends, end)
        for index in range(first, min(last + 1, len(self._tokens), MARKED_MOST)):
            begin = self._ends[index - 1] if index else 0
            yield self._tokens[index], self._text[max(begin, start) : min(self._ends[index], end)]
        if last >= MARKED_MOST:
            yield None, self._text[max(start, self._ends[MARKED_MOST - 1]) : end]

    def _word(self, token: Token | None, text: str) -> Word:
        if token is None:
            return Word(visible(text))
        struck = [draft for draft in self._drafts.get(token.index, ()) if draft.why.struck] if text else []
        told = told_of(token, struck[-1:])
        return Word(visible(text), token.index, token.step, told, struck[-1].word if struck else "", token.frame)


def told_of(token: Token, replaced: Sequence[Draft]) -> str:
    """A token's numbers, and what it replaced."""
    told = [] if token.certainty is None else [f"{token.certainty:.2f}"]
    if token.agreement is False:
        told.append("the verifier would have picked another")
    told += [f"in place of “{draft.word}” at {draft.confidence:.2f} ({draft.why.value})" for draft in replaced]
    return "; ".join(told)


def _section(act: Act, text: _Text | None) -> Section:
    match act:
        case Says(text=said, thought=thought):
            return _of_text("thought" if thought else "text", "thinks" if thought else "", said, text)
        case Writes(tool=tool, path=path, content=content):
            return _of_text("file", f"{tool}: writes {path}", content, text)
        case Changes(tool=tool, path=path, parts=parts):
            return Section("change", f"{tool}: changes {path}", tuple(_changed(parts)), verbatim=False)
        case Runs(tool=tool, command=command):
            return _of_text("command", f"{tool}: runs a command", command, text)
        case Requests(tool=tool, method=method, address=address, body=body):
            told = f"{address}\n{body}" if body else address
            return _of_text("request", f"{tool}: sends a request ({method})", told, text)
        case Calls(tool=tool, arguments=arguments):
            return _of_text("call", f"{tool}: is called with", arguments, text)
        case Gives(tool=tool, arguments=arguments):
            return _of_text("call", f"{tool}: is also given", arguments, text)


def _of_text(kind: str, heading: str, content: str, text: _Text | None) -> Section:
    found = None if text is None else text.find(content)
    rows = _plain(content) if found is None else found
    return Section(kind, visible(heading), rows, verbatim=found is not None or text is None)


def _plain(content: str) -> tuple[Row, ...]:
    lines = content.split("\n")
    rows = [Row((Word(visible(line)),) if line else ()) for line in lines[:LINES_MOST]]
    for start in range(LINES_MOST, len(lines), TOGETHER):
        shared = lines[start : start + TOGETHER]
        rows.append(Row((Word(visible("\n".join(shared))),), lines=len(shared)))
    return tuple(rows)


def _changed(parts: Iterable[Part]) -> Iterator[Row]:
    for part in parts:
        side = "" if part.side is Side.BOTH else part.side.value
        for line in part.text.removesuffix("\n").split("\n"):
            yield Row((Word(visible(line)),) if line else (), side)


def edit_of(review: Review) -> tuple[Part, ...]:
    """Word by word, what editors made of the generated text; empty for one that nobody edited."""
    return () if review.edited is None else difference(words_in(review.text), words_in(review.edited))
