"""An answer as a row of blocks, text, thought or call, each told as a beginning, its growth and its end.

Two dialects speak in blocks (content blocks, output items); this is what they have in common. White space alone is no block:
what stands between two calls is told only if something is said there, because clients that send an answer back are refused
for an empty text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.calls import CallArguments, CallBegun, CallEnded, Part, Reasoning
from gateway.pieces import Text, joined
from gateway.scores import TokenScore


class Sort(StrEnum):
    """What a block is."""

    TEXT = "text"
    THOUGHT = "thought"
    CALL = "call"


@dataclass(frozen=True, slots=True)
class Block:
    """One block as far as it has come; `text` of a call is the JSON of its arguments; `call` and `name` are empty elsewhere.

    `scores` are those of the tokens of a text or a thought.
    """

    index: int
    sort: Sort
    text: str = ""
    call: str = ""
    name: str = ""
    scores: tuple[TokenScore, ...] = ()


@dataclass(frozen=True, slots=True)
class Begun:
    """A block begins, empty."""

    block: Block


@dataclass(frozen=True, slots=True)
class Grown:
    """The open block grows by `text`, which is not empty."""

    block: Block
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The open block is whole."""

    block: Block


Change = Begun | Grown | Done


class Blocks:
    """Turns the parts of one answer into changes of its blocks."""

    def __init__(self) -> None:
        self.whole: list[Block] = []
        self._open: Block | None = None
        self._blank = Text("")

    def take(self, part: Part) -> list[Change]:
        """What changes by the next part."""
        match part:
            case Text():
                return self._grow(Sort.TEXT, part)
            case Reasoning(text=text, scores=scores):
                return self._grow(Sort.THOUGHT, Text(text, scores))
            case CallBegun(id=call, name=name):
                return [*self.end(), *self._begin(Sort.CALL, call, name)]
            case CallArguments(json=text):
                return self._add(Text(text))
            case CallEnded():
                return self.end()

    def end(self) -> list[Change]:
        """The open block, if there is one, ends here; so does the answer when no more parts come."""
        self._blank = Text("")
        if self._open is None:
            return []
        done, self._open = self._open, None
        self.whole.append(done)
        return [Done(done)]

    @property
    def calls(self) -> bool:
        """Whether the answer called a tool."""
        return any(block.sort is Sort.CALL for block in self.whole)

    def _grow(self, sort: Sort, piece: Text) -> list[Change]:
        if self._open is not None and self._open.sort is sort:
            return self._add(piece)
        ended = [] if self._open is None else self.end()
        said = joined((self._blank, piece))
        if not said.text.strip():
            self._blank = said
            return ended
        self._blank = Text("")
        return [*ended, *self._begin(sort), *self._add(said)]

    def _begin(self, sort: Sort, call: str = "", name: str = "") -> list[Change]:
        self._open = Block(len(self.whole), sort, "", call, name)
        return [Begun(self._open)]

    def _add(self, piece: Text) -> list[Change]:
        if self._open is None or not piece.text:
            return []
        was = self._open
        self._open = replace(was, text=was.text + piece.text, scores=was.scores + piece.scores)
        return [Grown(self._open, piece.text)]
