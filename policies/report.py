"""The figures of many judgements: what a policy did, or would have done, to recorded traffic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from policies.answer import Judged
from policies.modes import Mode
from policies.prices import Prices, Usage, cost
from policies.rejudge import Judgement, Outcome
from policies.rows import Row
from policies.verdicts import Verdict

REVIEW_SECONDS: Final = 120.0
"""How long a person is taken to need for an answer, where no recorded review says."""

Pair = tuple[Row, Judgement]


@dataclass(frozen=True, slots=True)
class Quality:
    """Stopping wrong answers, over the rows whose answer somebody labelled and whose text would have been the same.

    Precision is the share of wrong ones among those stopped, recall the share of stopped ones among those wrong; None over
    nothing. `unknown` labelled rows would have had another text, of which nobody knows whether it is good.
    """

    labelled: int
    wrong: int
    stopped: int
    wrong_stopped: int
    unknown: int

    @property
    def precision(self) -> float | None:
        """A fraction."""
        return _share(self.wrong_stopped, self.stopped)

    @property
    def recall(self) -> float | None:
        """A fraction."""
        return _share(self.wrong_stopped, self.wrong)

    @property
    def wrong_released(self) -> int:
        """Wrong answers that left by themselves."""
        return self.wrong - self.wrong_stopped

    @property
    def accuracy_released(self) -> float | None:
        """The share of good answers among those that left by themselves."""
        released = self.labelled - self.stopped
        return _share(released - self.wrong_released, released)


@dataclass(frozen=True, slots=True)
class Effects:
    """What one policy does to some traffic. `fallback_share` is of admitted rows, those with a unit decoded again in ar.

    `extra_forwards` is what refining (at most its steps and the causal pass) and decoding again (one pass a token) add,
    `extra_cost` what these passes cost by the policy's prices; `estimated` counts rows that are counterfactual.
    """

    outcomes: dict[Outcome, int]
    holds_per_day: float
    reviewer_minutes_per_day: float
    fallback_share: float
    refined_share: float
    extra_forwards: int
    extra_cost: Decimal
    estimated: int
    quality: Quality


def effects(pairs: Sequence[Pair], prices: Prices, days: int, review_seconds: float) -> Effects:
    """Add up judgements of `days` days; a review takes `review_seconds`."""
    outcomes = Counter(judgement.outcome for _, judgement in pairs)
    admitted = len(pairs) - outcomes[Outcome.REFUSE]
    holds = outcomes[Outcome.HOLD] / days if days else 0.0
    extra = [(row, unit) for row, judgement in pairs for unit in judgement.again]
    return Effects(
        outcomes={outcome: outcomes[outcome] for outcome in Outcome},
        holds_per_day=holds,
        reviewer_minutes_per_day=holds * review_seconds / 60,
        fallback_share=_share(_with(pairs, Verdict.REDO_AR), admitted) or 0.0,
        refined_share=_share(_with(pairs, Verdict.REFINE), admitted) or 0.0,
        extra_forwards=sum(_forwards(unit) for _, unit in extra),
        extra_cost=sum((_cost(row, unit, prices) for row, unit in extra), Decimal(0)),
        estimated=sum(judgement.estimated for _, judgement in pairs),
        quality=_quality(pairs),
    )


def _quality(pairs: Sequence[Pair]) -> Quality:
    """How well these judgements tell wrong answers from good ones."""
    labelled = [(row.human.good, judgement) for row, judgement in pairs if row.human is not None]
    known = [(good, judgement.outcome.stopped) for good, judgement in labelled if not judgement.estimated]
    return Quality(
        labelled=len(known),
        wrong=sum(not good for good, _ in known),
        stopped=sum(stopped for _, stopped in known),
        wrong_stopped=sum(stopped and not good for good, stopped in known),
        unknown=len(labelled) - len(known),
    )


def days_of(rows: Sequence[Row]) -> int:
    """Days from the first row to the last, both included."""
    days = [row.day for row in rows]
    return max(days) - min(days) + 1 if days else 0


def review_seconds_of(rows: Sequence[Row]) -> float:
    """How long the recorded reviews took on average; REVIEW_SECONDS where none says."""
    found = [row.human.seconds for row in rows if row.human is not None and row.human.seconds is not None]
    return sum(found) / len(found) if found else REVIEW_SECONDS


def _with(pairs: Sequence[Pair], verdict: Verdict) -> int:
    return sum(any(ruling.verdict is verdict for _, ruling in judgement.units) for _, judgement in pairs)


def _forwards(unit: Judged) -> int:
    facts, ruling = unit
    return facts.tokens if ruling.verdict is Verdict.REDO_AR else ruling.steps + 1


def _cost(row: Row, unit: Judged, prices: Prices) -> Decimal:
    """Passes by their price, and the accelerator's time in proportion to them."""
    passes = _forwards(unit)
    seconds = row.usage.gpu_seconds * passes / row.usage.forwards if row.usage.forwards else Decimal(0)
    mode = Mode.AR if unit[1].verdict is Verdict.REDO_AR else Mode.DIFFUSION
    return cost(prices, mode, Usage(forwards=passes, gpu_seconds=seconds))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
