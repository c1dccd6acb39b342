"""The figures of an answer beside the thresholds that the policy holds against them, each ready to be drawn as a bar."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import policies
from audit.judgements import ReleaseDecision
from audit.records import Body, GateVerdict
from policies.metrics import MEASURES, Metric

_NAMES: Final[Mapping[str, str]] = {
    "logprob_min": "least likely token",
    "logprob_mean": "likelihood, mean",
    "confidence_min": "lowest token",
    "confidence_mean": "confidence, mean",
    "agreement": "verifier agreement",
    "acceptance": "drafts accepted",
    "refined_share": "refined again",
    "redone_share": "decoded again in ar",
    "held_share": "units held",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: the worst of the units (or the answer's) and where a threshold is crossed; None where there is none.

    `fill` and `ticks` are places on a bar from 0 to 1; `label` is the gate or rule that asks, empty where none does.
    """

    name: str
    unit: str
    value: float
    below: float | None
    above: float | None
    crossed: bool
    label: str
    reason: str
    fill: float
    ticks: tuple[float, ...]


def figures_of(bodies: Sequence[Body], document: policies.Document | None) -> tuple[Figure, ...]:
    """Of every gate that met a unit and every rule that met the answer; without a `document` the answer's figures alone."""
    units = [body for body in bodies if isinstance(body, GateVerdict)]
    answer = next((body for body in reversed(bodies) if isinstance(body, ReleaseDecision)), None)
    asked = [] if document is None else [*_of_gates(document, units), *_of_rules(document, units, answer)]
    shown = {figure.name for figure in asked}
    return (*asked, *(figure for figure in _plain(answer) if figure.name not in shown))


def _of_gates(document: policies.Document, units: Iterable[GateVerdict]) -> Iterator[Figure]:
    kept = list(units)
    for gate in document.gates:
        modes, name = {mode.value for mode in gate.modes}, gate.metric.value
        met = [_told(unit) for unit in kept if unit.mode in modes]
        values = [unit[name] for unit in met if name in unit and unit.get("tokens", 0) >= gate.least_tokens]
        if values:
            yield _figure(gate.metric, _worst(values, gate.below, gate.above), gate.below, gate.above, gate.id, gate.reason)


def _of_rules(document: policies.Document, units: Sequence[GateVerdict], answer: ReleaseDecision | None) -> Iterator[Figure]:
    figures = {} if answer is None else _told(answer)
    for rule in document.rules:
        metric, below, above = rule.when.metric, rule.when.below, rule.when.above
        if metric is None:
            continue
        of_units = [value[metric.value] for unit in units if metric.value in (value := _told(unit))]
        values = of_units if rule.phase is policies.Phase.BLOCK else [figures[metric.value]] if metric.value in figures else []
        if values:
            yield _figure(metric, _worst(values, below, above), below, above, rule.id, rule.reason)


def _plain(answer: ReleaseDecision | None) -> Iterator[Figure]:
    for name, value in () if answer is None else zip(answer.names, answer.values, strict=True):
        if name in _NAMES and (value or not name.endswith("_share")):  # a share of nothing says nothing
            yield _figure(Metric(name), value, None, None, "", "")


def _told(body: GateVerdict | ReleaseDecision) -> dict[str, float]:
    return dict(zip(body.names, body.values, strict=True))


def _worst(values: Sequence[float], below: float | None, above: float | None) -> float:
    """The value that is nearest to crossing, or the furthest across."""
    if above is not None and below is None:
        return max(values)
    inside = [value for value in values if _crossed(value, below, above)]
    return min(inside or values)


def _crossed(value: float, below: float | None, above: float | None) -> bool:
    if below is None and above is None:
        return False
    return math.isnan(value) or ((below is None or value < below) and (above is None or value > above))


def _figure(metric: Metric, value: float, below: float | None, above: float | None, label: str, reason: str) -> Figure:
    measure, ticks = MEASURES[metric], [tick for tick in (below, above) if tick is not None]
    place = _bar(measure.unit, [value, *ticks])
    name = _NAMES.get(metric.value, metric.value.replace("_", " "))
    crossed = _crossed(value, below, above)
    return Figure(name, measure.unit, value, below, above, crossed, label, reason, place[0], tuple(place[1:]))


def _bar(unit: str, values: Sequence[float]) -> list[float]:
    """Places on a bar: fractions and probabilities as they are, nats from the lowest of them to 0, counts from 0 up."""
    told = [0.0 if math.isnan(value) else value for value in values]
    if unit == "nats":
        least = min([-1.0, *(value * 1.25 for value in told if math.isfinite(value))])
        return [min(1.0, max(0.0, 1 - value / least)) for value in told]
    most = 1.0 if unit in ("probability", "fraction") else max([1.0, *(value * 1.25 for value in told)])
    return [min(1.0, max(0.0, value / most)) for value in told]
