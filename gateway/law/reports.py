"""What the policy room found, as tables a person can read: columns, and rows of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import policies
from gateway.law.docket import Docket

Table = tuple[Sequence[str], Sequence[Sequence[str]]]


def explained(told: policies.Explanation, of_unit: policies.Policy | None = None) -> Table:
    """Everything that was considered; of one unit, judged under a policy, only what is asked of units."""
    asked = None if of_unit is None else of_unit.compiled.blocks
    rows = [
        (each.label, each.demands, each.match.value, "\n".join(each.why))
        for each in told.considered
        if asked is None or each.label in asked
    ]
    return ("asked", "demands", "applies", "why"), rows


def compared(report: policies.Report, currency: str) -> Table:
    """Two policies side by side, with what changes."""
    rows = [(name, _told(old), _told(new)) for name, old, new in _figures(report)]
    rows.append((f"cost of extra passes ({currency})", f"{report.old.extra_cost:f}", f"{report.new.extra_cost:f}"))
    rows.append(("requests decided otherwise", "", f"{len(report.changed)} ({_estimated(report)} of them estimated)"))
    return ("over the same requests", "in force", "candidate"), rows


def swept(points: Sequence[policies.Point]) -> Table:
    """A threshold in a line each."""
    columns = ("threshold", "held", "blocked", "fallback", "refined", "extra passes", "accuracy let through", "estimated")
    return columns, [
        (
            f"{point.threshold:g}",
            _share(point.hold_rate),
            _share(point.block_rate),
            _share(point.effects.fallback_share),
            _share(point.effects.refined_share),
            str(point.effects.extra_forwards),
            _share(point.accuracy_released),
            str(point.effects.estimated),
        )
        for point in points
    ]


def missing(docket: Docket) -> Iterator[str]:
    """What is on record and is not among the rows, a line each."""
    for count, why in (
        (docket.others, "were judged by another policy, or turned away before the law was asked"),
        (docket.unread, "can no longer be read whole: erased, retired, or of another release"),
        (docket.unfinished, "have not ended yet"),
    ):
        if count:
            yield f"left out: {count} requests that {why}"


def _figures(report: policies.Report) -> Iterator[tuple[str, float | int | None, float | int | None]]:
    old, new = report.old, report.new
    for outcome in old.outcomes:
        yield outcome.value, old.outcomes[outcome], new.outcomes[outcome]
    for name, figure in (
        ("holds a day", "holds_per_day"),
        ("reviewer minutes a day", "reviewer_minutes_per_day"),
        ("share with a block decoded again in ar", "fallback_share"),
        ("share with a block refined", "refined_share"),
        ("extra passes", "extra_forwards"),
        ("estimated rows", "estimated"),
    ):
        yield name, getattr(old, figure), getattr(new, figure)
    yield "precision of stopping", old.quality.precision, new.quality.precision
    yield "recall of stopping", old.quality.recall, new.quality.recall


def _estimated(report: policies.Report) -> int:
    return sum(change.estimated for change in report.changed)


def _told(figure: float | None) -> str:
    return "unknown" if figure is None else f"{figure:g}"


def _share(part: float | None) -> str:
    return "unknown" if part is None else f"{part:.1%}"
