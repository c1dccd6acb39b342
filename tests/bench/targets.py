"""What the GPU path should reach on an H200 with the 8B model's shape, beside what was measured.

What was not measured, for want of a CUDA device say, is told as that and never estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from rich.box import SIMPLE
from rich.table import Table

from gateway.bench.kernels import NOT_MEASURED
from kernels.measure import Ceilings
from tests.bench.passes import BLOCK, CROWD, Reached, Trace

SLOW, QUICK = 3.4, 6.0
"""Tokens per forward at which `linear_spec` is asked for a rate."""
ATTENTION, HEAD = "attention over 32768", "head"


class Bound(Enum):
    """On which side of the bound a figure should be."""

    LEAST = "at least"
    MOST = "at most"


@dataclass(frozen=True, slots=True)
class Target:
    """A figure, its bound, and how it is told: a format of Python's."""

    name: str
    side: Bound
    bound: float
    told: str

    def met(self, value: float) -> bool:
        """Whether the figure is on the right side."""
        return value >= self.bound if self.side is Bound.LEAST else value <= self.bound


Rows = Sequence[Mapping[str, Any]]
Measure = Callable[[Reached, Rows, Ceilings], float | None]
"""A figure from whole passes, from the kernels' rows (`gateway.bench.kernels`) and from the ceilings of the same run."""


def _share(rows: Rows, name: str, count: int) -> float:
    """The part of a copy's bytes a second that a kernel reaches with so many rows."""
    return next(float(row["share_of_copy"]) for row in rows if (row["name"], row["rows"]) == (name, count))


def _rate(trace: Trace | None) -> float | None:
    return None if trace is None else trace.tokens_per_second


TARGETS: Final[tuple[tuple[Target, Measure], ...]] = (
    (
        Target("a step of one row, of a copy's bytes/s", Bound.LEAST, 0.75, ".0%"),
        lambda whole, _, top: whole.read_bytes / whole.fast.one / top.bytes_per_second,
    ),
    (
        Target(f"a step of {BLOCK} rows, over one of one row", Bound.MOST, 1.15, ".2f"),
        lambda whole, *_: whole.fast.block / whole.fast.one,
    ),
    (
        Target("attention of 32 rows over 32,768 positions, of a copy's bytes/s", Bound.LEAST, 0.70, ".0%"),
        lambda _, rows, __: _share(rows, ATTENTION, 32),
    ),
    (
        Target("the head, over reading its weights once", Bound.MOST, 1.2, ".2f"),
        lambda _, rows, __: 1 / min(_share(rows, HEAD, count) for count in (1, 32)),
    ),
    (
        Target(f"lost to the host's work with {CROWD} at once", Bound.MOST, 0.15, ".0%"),
        lambda whole, *_: whole.crowd.lost,
    ),
    (Target("a step under strict, over fast", Bound.MOST, 1.5, ".2f"), lambda whole, *_: whole.strict.over(whole.fast)),
    (
        Target(f"linear_spec at {SLOW} tokens per forward, tokens/s", Bound.LEAST, 700, ".0f"),
        lambda whole, *_: _rate(whole.traces[0]),
    ),
    (
        Target(f"linear_spec at {QUICK} tokens per forward, tokens/s", Bound.LEAST, 1200, ".0f"),
        lambda whole, *_: _rate(whole.traces[1]),
    ),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A target and what was measured, None where it was not."""

    target: Target
    value: float | None

    @property
    def row(self) -> dict[str, Any]:
        """For the JSON."""
        target, value = self.target, self.value
        met = None if value is None else target.met(value)
        return {"name": target.name, "asked": target.bound, "side": target.side.value, "value": value, "met": met}


def figures(whole: Reached | None, rows: Rows | None, top: Ceilings | None) -> list[Figure]:
    """Every target; without a device no value."""
    if whole is None or rows is None or top is None:
        return [Figure(target, None) for target, _ in TARGETS]
    return [Figure(target, measure(whole, rows, top)) for target, measure in TARGETS]


def table(found: Sequence[Figure]) -> Table:
    """What was asked and what was reached."""
    made = Table(title="what an H200 should reach with the 8B model's shape", box=SIMPLE, pad_edge=False)
    made.add_column("figure")
    for head in ("asked", "measured", ""):
        made.add_column(head, justify="right", no_wrap=True)
    for figure in found:
        target, value = figure.target, figure.value
        told = (NOT_MEASURED, "") if value is None else (format(value, target.told), "met" if target.met(value) else "missed")
        made.add_row(target.name, f"{target.side.value} {target.bound:{target.told}}", *told)
    return made
