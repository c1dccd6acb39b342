"""The stretches of an answer that are worth a visit first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.review.marks import UNSURE
from gateway.review.tokens import Token

SPANS_MOST: Final = 64


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring unsure tokens, both ends included, and the least certainty among them."""

    first: int
    last: int
    least: float


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
