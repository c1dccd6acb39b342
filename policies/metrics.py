"""The figures that thresholds may name: unit, aggregation over a unit and over an answer, range, and who can emit them.

A *unit* is what the engine judges at once: a diffusion block, or a stretch of causal text. A figure that a mode can never
emit, and a threshold that a figure can never cross, are errors of the document and are found before it is in force.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from policies.modes import CONCRETE, Mode
from policies.words import TOKENS_MOST


class Metric(StrEnum):
    """Every figure by name; the first ten are those of `BlockFacts`."""

    TOKENS = "tokens"
    ATTEMPT = "attempt"
    STEPS = "steps"
    REVISIONS = "revisions"
    LOGPROB_MEAN = "logprob_mean"
    LOGPROB_MIN = "logprob_min"
    CONFIDENCE_MEAN = "confidence_mean"
    CONFIDENCE_MIN = "confidence_min"
    AGREEMENT = "agreement"
    ACCEPTANCE = "acceptance"
    FORWARDS = "forwards"
    REFINED_SHARE = "refined_share"
    REDONE_SHARE = "redone_share"
    HELD_SHARE = "held_share"


@dataclass(frozen=True, slots=True)
class Scale:
    """How a figure comes about at one place, and the values it can have there, both ends included."""

    aggregation: str
    least: float
    most: float

    def can_be(self, below: float | None, above: float | None) -> bool:
        """Whether some value lies under `below` and over `above`, where these are given."""
        low = self.least if above is None else above
        high = self.most if below is None else below
        reachable = (below is None or below > self.least) and (above is None or above < self.most)
        return reachable and (below is None or above is None or low < high)


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure: its unit, the modes that emit it, and its scale over a unit and over an answer; None where it has none."""

    unit: str
    modes: frozenset[Mode]
    block: Scale | None
    answer: Scale | None


_ALL: Final = frozenset(CONCRETE)
_DENOISED: Final = frozenset({Mode.DIFFUSION})
_SPECULATED: Final = frozenset({Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC})
_UNIT_MOST: Final = 64.0
"""Tokens of the longest unit: a causal one ends with the round that makes it 32 tokens, and a round has up to 32."""


def _counted(block: str, modes: frozenset[Mode], block_least: float, block_most: float) -> Measure:
    return Measure(
        unit="count",
        modes=modes,
        block=Scale(block, block_least, block_most),
        answer=Scale("sum over units", 0.0, float(TOKENS_MOST) * 64),
    )


def _shared(answer: str) -> Measure:
    return Measure("fraction", _DENOISED, None, Scale(answer, 0.0, 1.0))


MEASURES: Final[dict[Metric, Measure]] = {
    Metric.TOKENS: _counted("output tokens of the unit", _ALL, 1.0, _UNIT_MOST),
    Metric.ATTEMPT: _counted("earlier refinements of the block", _DENOISED, 0.0, 2.0),
    Metric.STEPS: _counted("passes spent on the unit", _ALL, 1.0, 128.0),
    Metric.REVISIONS: _counted("tokens masked again", _DENOISED, 0.0, 64.0),
    Metric.LOGPROB_MEAN: Measure(
        unit="nats",
        modes=_ALL,
        block=Scale("mean over tokens of the causal log-probability at temperature 1", -math.inf, 0.0),
        answer=Scale("mean over units, weighted by tokens", -math.inf, 0.0),
    ),
    Metric.LOGPROB_MIN: Measure(
        unit="nats",
        modes=_ALL,
        block=Scale("least over tokens of the causal log-probability at temperature 1", -math.inf, 0.0),
        answer=Scale("least over units", -math.inf, 0.0),
    ),
    Metric.CONFIDENCE_MEAN: Measure(
        unit="probability",
        modes=_DENOISED,
        block=Scale("mean over tokens of the denoising pass's confidence at commitment", 0.0, 1.0),
        answer=Scale("mean over units, weighted by tokens", 0.0, 1.0),
    ),
    Metric.CONFIDENCE_MIN: Measure(
        unit="probability",
        modes=_DENOISED,
        block=Scale("least over tokens of the denoising pass's confidence at commitment", 0.0, 1.0),
        answer=Scale("least over units", 0.0, 1.0),
    ),
    Metric.AGREEMENT: Measure(
        unit="fraction",
        modes=_DENOISED,
        block=Scale("share of tokens that the causal pass would have picked too", 0.0, 1.0),
        answer=Scale("mean over units, weighted by tokens", 0.0, 1.0),
    ),
    Metric.ACCEPTANCE: Measure(
        unit="fraction",
        modes=_SPECULATED,
        block=Scale("share of drafted tokens that were kept", 0.0, 1.0),
        answer=Scale("mean over units, weighted by tokens", 0.0, 1.0),
    ),
    Metric.FORWARDS: Measure("count", _ALL, None, Scale("network passes after prefill", 1.0, float(TOKENS_MOST) * 64)),
    Metric.REFINED_SHARE: _shared("share of units that were refined at least once"),
    Metric.REDONE_SHARE: _shared("share of tokens that were decoded again in ar"),
    Metric.HELD_SHARE: Measure("fraction", _ALL, None, Scale("share of units that a gate held", 0.0, 1.0)),
}
