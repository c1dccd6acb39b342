"""The course of a generation as bars: one per frame, grouped by stage, as high as the share that it resolved or kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.review.player import kind_of
from gateway.review.review import Review
from gateway.review.sentences import heading, sentence

WIDTH: Final = 10.0
GAP: Final = 1.0
BETWEEN: Final = 4.0
HEIGHT: Final = 56.0
LEAST: Final = 3.0
TOLD_MOST: Final = 1_000
"""Frames that are also told in words, so that a page stays a page; the player has them all."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A frame's bar in a drawing of `Bars.width` by `HEIGHT`, and what it says."""

    number: int
    kind: str
    x: float
    height: float
    title: str
    says: str
    share: float


@dataclass(frozen=True, slots=True)
class Foot:
    """The line under the bars of one stage."""

    number: int
    x: float
    width: float
    down: bool
    """A gate turned the stage down."""


@dataclass(frozen=True, slots=True)
class Bars:
    """The drawing."""

    width: float
    bars: tuple[Bar, ...]
    feet: tuple[Foot, ...]


def bars_of(review: Review) -> Bars:
    """Every frame as a bar."""
    bars: list[Bar] = []
    feet: list[Foot] = []
    x = 0.0
    for stage in review.stages:
        begin = x
        for frame in stage.frames:
            told = len(bars) < TOLD_MOST
            title = heading(stage, frame, len(review.stages)) if told else ""
            says = sentence(stage, frame, review.words) if told else ""
            height = max(LEAST, frame.share * HEIGHT)
            bars.append(Bar(frame.number, kind_of(frame), x, height, title, says, frame.share))
            x += WIDTH
        feet.append(Foot(stage.number, begin, x - GAP - begin, stage.turned_down))
        x += BETWEEN
    return Bars(max(WIDTH, x - BETWEEN) - GAP, tuple(bars), tuple(feet))
