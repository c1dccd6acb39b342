"""Charts as geometry: the template draws them as SVG, and the same figures stand in a table beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 720
_NAME: Final = 130
_TOLD: Final = 90
_ROW: Final = 30
_HEIGHT: Final = 160
_GAP: Final = 2


@dataclass(frozen=True, slots=True)
class Mark:
    """One bar or column: a name, the figure as it is told, and its rectangle."""

    name: str
    told: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Some marks on a ground of `width` by `height`; `says` is the chart in a sentence."""

    marks: tuple[Mark, ...]
    width: float
    height: float
    says: str


def bars(says: str, figures: Sequence[tuple[str, float, str]]) -> Chart:
    """A bar in a line for each name, value and its telling; the longest fills the line."""
    most = max((value for _, value, _ in figures), default=0.0)
    room = WIDTH - _NAME - _TOLD
    marks = tuple(
        Mark(name, told, _NAME, place * _ROW + 8, _part(value, most) * room, _ROW - 12)
        for place, (name, value, told) in enumerate(figures)
    )
    return Chart(marks, WIDTH, len(figures) * _ROW + 8, says)


def columns(says: str, figures: Sequence[tuple[str, float, str]]) -> Chart:
    """A column beside the other for each name, value and its telling, from left to right."""
    most = max((value for _, value, _ in figures), default=0.0)
    step = WIDTH / max(1, len(figures))
    marks = tuple(
        Mark(
            name,
            told,
            place * step,
            _HEIGHT - _part(value, most) * _HEIGHT,
            max(1.0, step - _GAP),
            _part(value, most) * _HEIGHT,
        )
        for place, (name, value, told) in enumerate(figures)
    )
    return Chart(marks, WIDTH, _HEIGHT, says)


def _part(value: float, most: float) -> float:
    return value / most if most > 0 else 0.0
