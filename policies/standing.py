"""One gate or rule, ready to be asked: its conditions compiled, its threshold beside them."""

from __future__ import annotations

from dataclasses import dataclass

from policies.conditions import Condition
from policies.facts import AnswerFacts, BlockFacts, RequestFacts
from policies.gates import Refine
from policies.modes import Mode
from policies.verdicts import Verdict
from policies.words import AGAIN, Action

MISSING = "metric_missing:"
"""Before the label of a gate or rule that was decided by the lack of a figure."""

Demand = tuple[Action, str]
"""What is demanded, and the label that goes on record for it."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A figure by name and where it is crossed: under `below`, over `above`, or between the two."""

    metric: str
    below: float | None
    above: float | None

    def seen(self, figures: object) -> float | None:
        """The figure, or None where it is missing; what is not a number is missing."""
        value: float | None = getattr(figures, self.metric, None)
        return None if value is None or value != value else value  # noqa: PLR0124 - only a NaN differs from itself

    def crossed(self, value: float) -> bool:
        """Whether the value lies where the demand begins."""
        return (self.below is None or value < self.below) and (self.above is None or value > self.above)

    def told(self, value: float) -> str:
        """The value in as few digits as show on which side of this it lies: 0.9 as a figure of float32 is less than 0.9."""
        tellings = (f"{value:.{digits}g}" for digits in (6, 9))
        return next((told for told in tellings if self.crossed(float(told)) is self.crossed(value)), repr(value))

    def __str__(self) -> str:
        below = "" if self.below is None else f" below {self.below:g}"
        above = "" if self.above is None else f" above {self.above:g}"
        return f"{self.metric}{below}{above}"


@dataclass(frozen=True, slots=True)
class Standing:
    """A gate or rule of one phase. `modes` are those of the text that it concerns."""

    label: str
    action: Action
    modes: frozenset[Mode]
    request: tuple[Condition[RequestFacts], ...] = ()
    answer: tuple[Condition[AnswerFacts], ...] = ()
    threshold: Threshold | None = None
    least_tokens: int = 1
    refine: Refine | None = None
    on_missing: Action = Action.HOLD
    paths: tuple[str, ...] = ()
    """The globs that the answer's conditions hold its calls against."""
    approval: str = ""
    reason: str = ""
    verdicts: frozenset[Verdict] = frozenset()
    """Everything that it can come to."""
    may_stop: bool = True
    """Whether an answer that meets this may have to wait."""

    def concerns(self, facts: RequestFacts) -> bool:
        """Whether the request, whatever its mode, is one that this is about; what is not known yet is left open."""
        for condition in self.request:  # noqa: SIM110 - a generator would cost more than the conditions
            if not condition.holds(facts):
                return False
        return True

    def of_unit(self, mode: Mode, unit: BlockFacts) -> Demand | None:
        """What is demanded of a unit made in `mode`."""
        if mode not in self.modes or unit.tokens < self.least_tokens:
            return None
        demand = self._of_figures(unit)
        if demand is None or demand[0] not in AGAIN:
            return demand
        if mode is not Mode.DIFFUSION:
            return Action.HOLD, demand[1]  # causal text is what `ar` would write: nothing to refine or redo
        if self.refine is not None and unit.attempt >= self.refine.attempts:
            return self.refine.then, demand[1]
        return demand

    def of_answer(self, facts: AnswerFacts) -> Demand | None:
        """What is demanded of an answer to a request that this concerns."""
        if not all(condition.holds(facts) for condition in self.answer):
            return None
        return self._of_figures(facts.figures)

    def _of_figures(self, figures: object) -> Demand | None:
        if self.threshold is None:
            return self.action, self.label
        value = self.threshold.seen(figures)
        if value is None:
            return self.on_missing, MISSING + self.label
        return (self.action, self.label) if self.threshold.crossed(value) else None
