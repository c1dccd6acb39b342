"""What an answer says, thinks and calls: released text, piece by piece, becomes the parts that dialects speak of.

It sits above release and sees nothing else, so a call leaves only when all of it is committed. Two forms are read: that of
Qwen3-Coder (`<function=NAME>`, `<parameter=KEY>` and their ends) and a JSON object with name and arguments; the outer
`<tool_call>` may be missing from the first. What does not read as a call of an offered tool is text, to the letter. Only blanks
beside a call are dropped.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise
from typing import Final, TypeAlias

from engine.tokenizer import CALL_END, CALL_START, THINK_END, THINK_START
from gateway.call_forms import FUNCTION, Found, NotYet, scan
from gateway.dialects.request import ToolSpec
from gateway.pieces import Text
from gateway.scores import TokenScore


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What the model thinks before it answers, and the scores of the tokens that are complete with it."""

    text: str
    scores: tuple[TokenScore, ...] = ()


@dataclass(frozen=True, slots=True)
class CallBegun:
    """A call of a tool begins."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """Its arguments: JSON text of an object."""

    json: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """It is complete."""


Part: TypeAlias = Text | Reasoning | CallBegun | CallArguments | CallEnded

OPENERS: Final = (CALL_START, FUNCTION)
AT_ONCE: Final = 16_384
"""Characters of a long text that are looked at together, at least."""


class _At(Enum):
    """Where in an answer the reader is."""

    THINKING = auto()
    THOUGHT = auto()
    SPEAKING = auto()
    CALLED = auto()


class _Ripe:
    """Scores, each of which is told with the text in which its token is complete."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting: deque[tuple[int, TokenScore]] = deque()
        self._end = 0

    def add(self, scores: Iterable[TokenScore]) -> None:
        """The next tokens of the answer; one that ends within a character is complete with that character."""
        for score in scores:
            self._end += len(self._utf8.decode(score.data))
            if score.data:
                self._waiting.append((self._end + bool(self._utf8.getstate()[0]), score))

    def within(self, start: int, end: int) -> tuple[TokenScore, ...]:
        """Those that are complete after `start` characters and not after `end`; the ones before are dropped."""
        found: list[TokenScore] = []
        while self._waiting and self._waiting[0][0] <= end:
            place, score = self._waiting.popleft()
            if place > start:
                found.append(score)
        return tuple(found)


class AnswerReader:
    """Reads one answer; of one task. `read` each piece of text, then `end`."""

    def __init__(self, tools: Sequence[ToolSpec], prefix: str, *, thinking: bool = False, most: int | None = None) -> None:
        """`tools` may be called, `most` times (None: any number); calls are named `prefix` and their number from 0.

        `thinking`: the prompt left the answer inside of the model's reasoning.
        """
        self._tools = {tool.name: tool for tool in tools}
        self._prefix, self._most = prefix, most
        self._at = _At.THINKING if thinking else _At.SPEAKING
        self._kept, self._seen, self._ripe = "", 0, _Ripe()
        self._fresh = thinking
        self.calls = 0

    def read(self, text: str, scores: Iterable[TokenScore] = ()) -> list[Part]:
        """The parts that are certain now, `text` being the next of the answer and `scores` those of its tokens."""
        self._ripe.add(scores)
        found, place = list[Part](), 0
        while not place or place < len(text):
            # As much again as is kept: each call is cut off what is kept, and each new piece has it looked at anew.
            piece = text[place : place + max(AT_ONCE, len(self._kept))]
            self._kept += piece
            self._seen += len(piece)
            place += max(AT_ONCE, len(piece))
            found += self._parts(final=False)
        return found

    def end(self) -> list[Part]:
        """The answer is over: the parts that were kept back."""
        return list(self._parts(final=True))

    def _parts(self, *, final: bool) -> Iterator[Part]:
        while True:
            before = (self._at, len(self._kept))
            match self._at:
                case _At.THINKING:
                    yield from self._think(final)
                case _At.SPEAKING:
                    yield from self._speak(final)
                case _At.THOUGHT:
                    self._skip(None, final)
                case _At.CALLED:
                    self._skip(CALL_END, final)
            if not self._kept or (self._at, len(self._kept)) == before:
                return

    def _think(self, final: bool) -> Iterator[Part]:
        """Up to the mark that ends the reasoning; a mark that begins it may come first."""
        if self._fresh:
            rest = self._kept.lstrip()
            if THINK_START.startswith(rest) and not final:
                return
            self._fresh, self._kept = False, rest.removeprefix(THINK_START).lstrip()
        start = self._seen - len(self._kept)
        thought, ended, rest = self._kept.partition(THINK_END)
        if ended:
            thought, self._at = thought.rstrip(), _At.THOUGHT
        elif not final:
            thought = _sure(thought, (THINK_END,))
            rest = self._kept[len(thought) :]
        self._kept = rest
        if thought:
            yield Reasoning(thought, self._ripe.within(start, start + len(thought)))

    def _speak(self, final: bool) -> Iterator[Part]:
        """Up to the next call, which is taken whole."""
        place = self._opener()
        if place < 0:
            text = self._kept if final or not self._tools else _sure(self._kept, OPENERS)
            yield from self._say(len(text), len(text))
            return
        found = scan(self._kept[place:], self._tools, final=final)
        match found:
            case Found():
                yield from self._say(len(self._kept[:place].rstrip()), place + found.length)
                yield from self._call(found)
            case NotYet():
                border = len(self._kept[:place].rstrip())
                yield from self._say(border, border)
            case _:
                opener = next(opener for opener in OPENERS if self._kept.startswith(opener, place))
                yield from self._say(place + len(opener), place + len(opener))

    def _opener(self) -> int:
        """Where a call may begin; -1 where none can."""
        if not self._tools or self.calls == self._most:
            return -1
        return min((place for opener in OPENERS if (place := self._kept.find(opener)) >= 0), default=-1)

    def _say(self, border: int, rest: int) -> Iterator[Part]:
        """What is kept up to `border` as text; from `rest` on it stays kept."""
        start = self._seen - len(self._kept)
        text, self._kept = self._kept[:border], self._kept[rest:]
        if text:
            yield Text(text, self._ripe.within(start, start + len(text)))

    def _call(self, found: Found) -> Iterator[Part]:
        yield CallBegun(f"{self._prefix}{self.calls}", found.name)
        yield CallArguments(found.arguments)
        yield CallEnded()
        self.calls += 1
        self._at = _At.CALLED

    def _skip(self, mark: str | None, final: bool) -> None:
        """Drop blanks, and the mark that ends a call."""
        self._kept = self._kept.lstrip()
        if mark and self._kept.startswith(mark):
            self._kept = self._kept.removeprefix(mark)
        elif self._kept and (final or not mark or not mark.startswith(self._kept)):
            self._at = _At.SPEAKING


def parts_of(reader: AnswerReader, text: str, scores: Iterable[TokenScore] = ()) -> list[Part]:
    """All parts of a whole answer; `reader` has read nothing yet and is used up."""
    return [*reader.read(text, scores), *reader.end()]


@dataclass(frozen=True, slots=True)
class Called:
    """One call of an answer, for whoever judges it: `arguments` is JSON text of an object."""

    name: str
    arguments: str


def calls_of(reader: AnswerReader, text: str) -> tuple[Called, ...]:
    """The calls that a whole answer makes, in order; never raises. `reader` has read nothing yet and is used up."""
    return tuple(
        Called(begun.name, told.json)
        for begun, told in pairwise(parts_of(reader, text))
        if isinstance(begun, CallBegun) and isinstance(told, CallArguments)
    )


def _sure(text: str, marks: Sequence[str]) -> str:
    """The text without the blanks at its end and without what may be the head of a mark."""
    longest = min(len(text), max(map(len, marks)) - 1)
    heads = (size for size in range(longest, 0, -1) if any(mark.startswith(text[-size:]) for mark in marks))
    return text[: len(text) - next(heads, 0)].rstrip()
