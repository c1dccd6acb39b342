"""The stylesheet's colours: every pair that text stands in, in both themes, computed from the tokens themselves."""

from __future__ import annotations

import re

import pytest

from gateway.ui.static_files import FOLDER

STYLES = (FOLDER / "palimpsest.css").read_text(encoding="utf-8")
TOKENS = {name: pair for name, *pair in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", STYLES)}
TEXT = [
    *((ink, ground) for ink in ("ink", "soft", "act", "hold", "refuse", "good") for ground in ("paper", "sheet")),
    *(("ink", ground) for ground in ("u1", "u2", "u3", "u4", "hold-paper", "refuse-paper")),
    ("on-act", "act"), ("hold", "hold-paper"), ("refuse", "refuse-paper"),
]  # fmt: skip
EDGES = [("edge", "paper"), ("edge", "sheet"), ("act", "paper"), ("u-line", "u3"), ("u-line", "u4")]


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str, theme: int) -> float:
    """The ratio of two tokens in a theme, 1 to 21."""
    dark, light = sorted(luminance(TOKENS[name][theme]) for name in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read(theme: int) -> None:
    """Text stands out from every ground it is put on by 4.5 to 1, what one presses or types into by 3 to 1."""
    assert {pair: contrast(*pair, theme) for pair in TEXT if contrast(*pair, theme) < 4.5} == {}
    assert {pair: contrast(*pair, theme) for pair in EDGES[:3] if contrast(*pair, theme) < 3} == {}


def test_colours_are_tokens() -> None:
    """Outside of its tokens the stylesheet names no colour, and nothing of it is loaded from elsewhere."""
    rules = STYLES[STYLES.index("/* The ground */") :].replace("background: #fff;", "")
    assert re.findall(r"#[0-9a-f]{3,8}\b(?=[; ])", rules) == [] and "url(" not in STYLES and "@import" not in STYLES
    assert "box-shadow: 0" not in STYLES
