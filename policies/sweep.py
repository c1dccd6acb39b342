"""A threshold moved over recorded traffic: what each value would have held, decoded again, and let through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from policies.document import Document
from policies.gates import Gate
from policies.judge import decide
from policies.metrics import Metric
from policies.policy import Policy, seal
from policies.rejudge import Outcome, rejudge
from policies.report import Effects, days_of, effects, review_seconds_of
from policies.rows import Row
from policies.rules import Rule


@dataclass(frozen=True, slots=True)
class Point:
    """One value of the threshold; shares are of all rows, and None over no rows."""

    threshold: float
    effects: Effects
    rows: int

    @property
    def hold_rate(self) -> float:
        """The share of rows that a person would have to decide."""
        return self._share(Outcome.HOLD)

    @property
    def block_rate(self) -> float:
        """The share of rows whose answer never left."""
        return self._share(Outcome.BLOCK)

    @property
    def accuracy_released(self) -> float | None:
        """The share of good answers among those that left by themselves, where that is known."""
        return self.effects.quality.accuracy_released

    def _share(self, outcome: Outcome) -> float:
        return self.effects.outcomes[outcome] / self.rows if self.rows else 0.0


def sweep(policy: Policy, rows: Sequence[Row], metric: Metric, thresholds: Sequence[float]) -> list[Point]:
    """Judge `rows`, recorded under `policy`, with every threshold on `metric` set to each of `thresholds` in turn.

    A gate or rule with both bounds keeps its upper side (`above`). Raises ValueError if none names the metric.
    """
    if not _names(policy.document, metric):
        raise ValueError(f"no gate and no rule of {policy.name!r} has a threshold on {metric.value}; add one to sweep it")
    was = [decide(policy, row.facts) for row in rows]
    days, seconds, prices = days_of(rows), review_seconds_of(rows), policy.document.prices
    points: list[Point] = []
    for threshold in thresholds:
        moved = seal(policy.name, _moved(policy.document, metric, threshold))
        pairs = [(row, rejudge(moved, row, then)) for row, then in zip(rows, was, strict=True)]
        points.append(Point(threshold, effects(pairs, prices, days, seconds), len(rows)))
    return points


def _names(document: Document, metric: Metric) -> bool:
    return any(gate.metric is metric for gate in document.gates) or any(rule.when.metric is metric for rule in document.rules)


def _moved(document: Document, metric: Metric, threshold: float) -> Document:
    gates = tuple(_gate(gate, threshold) if gate.metric is metric else gate for gate in document.gates)
    rules = tuple(_rule(rule, threshold) if rule.when.metric is metric else rule for rule in document.rules)
    return msgspec.structs.replace(document, gates=gates, rules=rules)


def _gate(gate: Gate, threshold: float) -> Gate:
    if gate.below is not None:
        return msgspec.structs.replace(gate, below=threshold)
    return msgspec.structs.replace(gate, above=threshold)


def _rule(rule: Rule, threshold: float) -> Rule:
    key = "below" if rule.when.below is not None else "above"
    return msgspec.structs.replace(rule, when=msgspec.structs.replace(rule.when, **{key: threshold}))
