"""The answer as lines of tokens, and the stretches of it that are worth a visit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.review.marks import UNSURE
from gateway.review.tokens import Token

SPANS_MOST: Final = 64

Piece: TypeAlias = tuple[Token, str]
"""A token and what of its text stands on one line, without the line's end."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the answer, counted from 1."""

    number: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring unsure tokens, both ends included, and the least certainty among them."""

    first: int
    last: int
    least: float


def lines_of(tokens: Iterable[Token]) -> tuple[Line, ...]:
    """Lines joined by line ends are the text; a token with a line end in it stands on several."""
    lines: list[list[Piece]] = [[]]
    for token in tokens:
        head, *rest = token.text.split("\n")
        if head or not rest:
            lines[-1].append((token, head))
        lines.extend([(token, part)] if part else [] for part in rest)
    return tuple(Line(number, tuple(pieces)) for number, pieces in enumerate(lines, 1))


def spans_of(tokens: Sequence[Token]) -> tuple[Span, ...]:
    """At most `SPANS_MOST`, the least sure first."""
    return tuple(sorted(_unsure(tokens), key=lambda span: span.least)[:SPANS_MOST])


def _unsure(tokens: Iterable[Token]) -> Iterator[Span]:
    begun: list[Token] = []
    for token in tokens:
        if token.step >= UNSURE and token.text:
            begun.append(token)
        elif begun and token.text:
            yield _span(begun)
            begun = []
    if begun:
        yield _span(begun)


def _span(tokens: Sequence[Token]) -> Span:
    least = min(token.certainty for token in tokens if token.certainty is not None)
    return Span(tokens[0].index, tokens[-1].index, least)
