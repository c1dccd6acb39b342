"""Quality gates: figures of a finished block, the verdict on it, and the function between the two.

A gate is pure and sees only values that are already rounded as they are recorded (float32), so a verdict can be computed
again from the record. The unit is a diffusion block; causal text is cut every `CAUSAL_UNIT` output tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

CAUSAL_UNIT = 32
"""Output tokens of `ar` and the speculative modes that are judged together."""

REFINES_MOST = 2
"""How often one block may be refined; asked once more, it is held instead."""


class Verdict(StrEnum):
    """What becomes of a block. Causal text cannot be refined or redone: it is what `ar` would write."""

    ACCEPT = "accept"
    REFINE = "refine"
    REDO_AR = "redo_ar"
    HOLD = "hold"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict with its reason; `refine` masks again what was committed below `threshold`, for `steps` steps more."""

    verdict: Verdict
    rule: str = ""
    threshold: float = 0.0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class BlockFacts:
    """The figures of one block, float32 values throughout; None where the mode has no such figure.

    Confidence is that of the denoising pass at commitment, log-probability the causal pass's at temperature 1, agreement the
    share of tokens that the causal pass would have picked too, acceptance the share of guessed drafts that held, those behind
    the end of an answer included.
    """

    index: int
    start: int
    mode: str
    tokens: int
    attempt: int
    steps: int
    revisions: int
    logprob_mean: float
    logprob_min: float
    confidence_mean: float | None = None
    confidence_min: float | None = None
    agreement: float | None = None
    acceptance: float | None = None

    def figures(self) -> dict[str, float]:
        """The numbers by name, those that exist."""
        skipped = ("index", "start", "mode")
        found = {name: getattr(self, name) for name in self.__slots__ if name not in skipped}
        return {name: float(value) for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Gate:
    """A pure function from facts to a ruling, and every verdict that it can give; any other one is a fault."""

    judge: Callable[[BlockFacts], Ruling]
    verdicts: frozenset[Verdict]


def recorded_mean(values: Sequence[float]) -> float:
    """The mean, rounded to float32; 0 over nothing."""
    return float(np.float32(sum(values) / len(values))) if values else 0.0
