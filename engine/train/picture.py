"""The trade between accuracy and tokens per forward as a picture: one line per block length, one dot per threshold.

Plain SVG without scripts, fonts or references, so that any page may show it. Colours are those of Okabe and Ito, which people
with colour-blindness tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 28, 52
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
OTHER: Final = "#333333"

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Dot:
    """One setting: tokens per forward, share of right answers in percent, and what is written beside it."""

    series: str
    tokens: float
    percent: float
    label: str


def whole(row: Row) -> bool:
    """Whether the row was answered greedily, without a grammar, by the model with all that it has."""
    return not row["guided"] and row["lora"] == "on" and row["temperature"] == 0


def picture(rows: Sequence[Row]) -> str:
    """SVG of an examination's rows. Raises ValueError when there is nothing to draw."""
    dots = [_dot(row) for row in rows if row["kind"] == "all" and whole(row)]
    if not dots:
        raise ValueError("an examination without a whole row has nothing to draw")
    right = max(1.0, *(dot.tokens for dot in dots)) * 1.05
    low = 10.0 * ((min(dot.percent for dot in dots) - 1e-9) // 10.0)
    scale = _Scale(right, max(0.0, low))
    parts = [*_axes(scale)]
    for place, (name, group) in enumerate(groupby(sorted(dots, key=lambda dot: dot.series), lambda dot: dot.series)):
        parts += _series(scale, name, list(group), place)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>', *parts, "</svg>", ""])


@dataclass(frozen=True, slots=True)
class _Scale:
    """Tokens per forward from 0 to `right`, percent from `low` to 100, to places in the picture."""

    right: float
    low: float

    def x(self, tokens: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * tokens / self.right

    def y(self, percent: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (percent - self.low) / max(1.0, 100.0 - self.low)


def _dot(row: Row) -> Dot:
    block, threshold = row["block"], row["threshold"]
    series = row["mode"] if block is None else f"{row['mode']} {block}"
    percent = 100.0 * row["correct"] / max(1, row["questions"])
    return Dot(series, row["tokens_per_forward"], percent, "" if threshold is None else f"{threshold:g}")


def _axes(scale: _Scale) -> list[str]:
    bottom, end = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [f'<path d="M{LEFT} {TOP}V{bottom}H{end}" fill="none" stroke="{OTHER}"/>']
    parts += [_text(scale.x(tokens), bottom + 18, str(tokens), "middle") for tokens in range(int(scale.right) + 1)]
    for tenth in range(int(scale.low // 10), 11):
        y = scale.y(10.0 * tenth)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{end}" stroke="#dddddd"/>')
        parts.append(_text(LEFT - 8, y + 4, str(10 * tenth), "end"))
    parts.append(_text((LEFT + end) / 2, HEIGHT - 14, "tokens per forward (sum over sum)", "middle"))
    parts.append(_text(LEFT, TOP - 10, "executed correct, %", "middle"))
    return parts


def _series(scale: _Scale, name: str, dots: Sequence[Dot], place: int) -> list[str]:
    colour = COLOURS[place % len(COLOURS)]
    places = sorted(dots, key=lambda dot: dot.tokens)
    path = " ".join(f"{scale.x(dot.tokens):.1f},{scale.y(dot.percent):.1f}" for dot in places)
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'] if len(places) > 1 else []
    for dot in places:
        x, y = scale.x(dot.tokens), scale.y(dot.percent)
        said = f"{name} {dot.label}".strip()
        title = f"<title>{said}: {dot.percent:.1f} %, {dot.tokens:.2f} tokens per forward</title>"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}">{title}</circle>')
        if dot.label:
            parts.append(_text(x, y - 8, dot.label, "middle", 9))
    parts.append(f'<circle cx="{WIDTH - RIGHT + 16}" cy="{TOP + 18 * place}" r="4" fill="{colour}"/>')
    parts.append(_text(WIDTH - RIGHT + 26, TOP + 18 * place + 4, name, "start"))
    return parts


def _text(x: float, y: float, text: str, anchor: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{OTHER}">{text}</text>'
