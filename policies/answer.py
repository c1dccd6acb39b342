"""An answer's facts from those of its units, as `metrics.py` says of each figure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from policies.facts import AnswerFacts, AnswerFigures, BlockFacts, ToolCall
from policies.verdicts import SEPARATOR, Ruling, Verdict

Judged = tuple[BlockFacts, Ruling]
"""A unit, and how it was ruled on."""

AGAIN = (Verdict.REFINE, Verdict.REDO_AR)
"""Rulings after which a unit gave no output."""


def summarise(units: Sequence[Judged], calls: tuple[ToolCall, ...] = (), forwards: int = 0) -> AnswerFacts:
    """The facts of an answer whose units were ruled on in this order; `forwards` counts its passes after prefill.

    Units that were refined or decoded again gave no output: what came in their place counts, and that they were.
    """
    kept = [unit for unit, ruling in units if ruling.verdict not in AGAIN]
    return AnswerFacts(_figures(kept, units, forwards), calls, _labels(units, Verdict.HOLD), _labels(units, Verdict.BLOCK))


def _figures(kept: Sequence[BlockFacts], units: Sequence[Judged], forwards: int) -> AnswerFigures:
    if not kept:
        return AnswerFigures(forwards=forwards)
    tokens = sum(unit.tokens for unit in kept)
    redone = sum(unit.tokens for unit, ruling in units if ruling.verdict is Verdict.REDO_AR)
    return AnswerFigures(
        tokens=tokens,
        attempt=sum(unit.attempt for unit in kept),
        steps=sum(unit.steps for unit in kept),
        revisions=sum(unit.revisions for unit in kept),
        forwards=forwards,
        logprob_mean=_mean(kept, "logprob_mean"),
        logprob_min=_least(kept, "logprob_min"),
        confidence_mean=_mean(kept, "confidence_mean"),
        confidence_min=_least(kept, "confidence_min"),
        agreement=_mean(kept, "agreement"),
        acceptance=_mean(kept, "acceptance"),
        refined_share=sum(unit.attempt > 0 for unit in kept) / len(kept),
        redone_share=min(1.0, redone / tokens) if tokens else 0.0,
        held_share=sum(ruling.verdict is Verdict.HOLD for _, ruling in units) / len(kept),
    )


def _values(kept: Sequence[BlockFacts], figure: str) -> list[tuple[float, int]]:
    return [(value, unit.tokens) for unit in kept if (value := getattr(unit, figure)) is not None]


def _mean(kept: Sequence[BlockFacts], figure: str) -> float | None:
    found = _values(kept, figure)
    weight = sum(tokens for _, tokens in found)
    return math.fsum(value * tokens for value, tokens in found) / weight if weight else None


def _least(kept: Sequence[BlockFacts], figure: str) -> float | None:
    found = _values(kept, figure)
    if any(math.isnan(value) for value, _ in found):
        return math.nan
    return min((value for value, _ in found), default=None)


def _labels(units: Sequence[Judged], verdict: Verdict) -> tuple[str, ...]:
    """What ruled so, each label once, in order."""
    found = [label for _, ruling in units if ruling.verdict is verdict for label in ruling.rule.split(SEPARATOR)]
    return tuple(dict.fromkeys(found))
