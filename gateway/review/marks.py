"""How unsure a token is, in five steps, and how hostile text is written so that nothing of it is invisible."""

from __future__ import annotations

import math
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Final

RAMP: Final = (0.3, 0.5, 0.7, 0.9)
"""Probabilities: from the last on a token is clear (step 0), under the first it is the most unsure (step 4)."""
UNSURE: Final = 3
"""Steps from this one on are worth a visit."""
_PLAIN: Final = frozenset("\n\t")
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_DRAWN_AS_NOTHING: Final = frozenset(
    map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x2800, 0x3164, 0xFFA0,
              *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)  # fmt: skip
"""Letters and marks that Unicode has programs draw as nothing (Default_Ignorable_Code_Point), and the empty cell of Braille.

Fillers are names in programs, and any bytes can be told in selectors of variants.
"""
_LINE_END: Final = "↵"
_TAB: Final = "⇥"


def probability(logprob: float) -> float:
    """Of a natural log-probability, in 0 to 1 also where rounding or damage left it outside."""
    return 0.0 if math.isnan(logprob) else math.exp(min(0.0, logprob))


def certainty(figures: Iterable[float | None]) -> float | None:
    """The least of the probabilities that are known of a token; None where none is."""
    return min((figure for figure in figures if figure is not None), default=None)


def unsure(sureness: float | None) -> int:
    """The step of the ramp, 0 (clear) to 4; a token of which nothing is known is clear."""
    return 0 if sureness is None else len(RAMP) - bisect_left(RAMP, math.nextafter(sureness, 2.0))


def visible(text: str) -> str:
    """The text with everything that has no shape of its own (controls, marks that turn the direction) spelled as U+XXXX.

    What a person approves must be what a machine reads: an answer may not look otherwise than it is.
    """
    if text.isascii() and text.isprintable():
        return text
    strange = {ord(character): _shown(character) for character in set(text) if _is_hidden(character)}
    return text.translate(strange) if strange else text


def on_a_line(text: str) -> str:
    """The same on one line, for a sentence: ends of lines and tabs have signs."""
    return visible(text).replace("\n", _LINE_END).replace("\t", _TAB)


def hidden(text: str) -> int:
    """How many characters of the text have no shape of their own."""
    return sum(times for character, times in Counter(text).items() if _is_hidden(character))


def _is_hidden(character: str) -> bool:
    unseen = unicodedata.category(character) in _HIDDEN or character in _DRAWN_AS_NOTHING
    return unseen and character not in _PLAIN


def _shown(character: str) -> str:
    return f"⟨U+{ord(character):04X}⟩"
