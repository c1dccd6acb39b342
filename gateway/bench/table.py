"""What `palimpsest bench modes` measured, as figures, as JSON and as tables for a person.

A rate is output tokens, stop ids included, over wall seconds from the first prompt's submission to the last answer's end; a row
has the median over the repeats, and their extremes. `decode_tokens_per_second` is one stream's speed once it flows: the tokens
told after a generation's first output event over the seconds after that event, both summed over generations first (the clock
of a diffusion answer, which begins with a whole block, starts behind that block). Percentiles, by nearest rank, and fractions
are over the generations of all repeats.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from rich.box import SIMPLE
from rich.table import Table

from engine.request import Mode
from gateway.bench.lanes import Answer, Lane, Run
from gateway.demo_table import FORWARDS

DEFINITIONS: Final = {
    "tokens_per_forward": FORWARDS,
    "decode_tokens_per_second": "tokens told after a generation's first output event / seconds after it, over all generations",
    "speedup_over_ar": "tokens_per_second / that of ar at the same concurrency",
    "share_of_tokens_per_forward": "speedup_over_ar / tokens_per_forward",
    "throughput_over_one": "tokens_per_second / that of the same mode at concurrency 1",
    "share_of_weighted_mean": "mixed: tokens_per_second / (tokens / sum over its modes of tokens / that mode's rate alone)",
    "matches_ar": "fraction of answers identical, token by token, to those of ar at the lowest concurrency measured",
    "task_accuracy": "fraction of answers whose code was executed and passed every hidden case",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """A lane with its runs, at least one."""

    lane: Lane
    runs: Sequence[Run]

    @property
    def answers(self) -> list[Answer]:
        """The answers of all repeats."""
        return [answer for run in self.runs for answer in run.answers]

    @property
    def rates(self) -> list[float]:
        """Tokens per second of each run."""
        return [run.tokens / run.seconds for run in self.runs]

    @property
    def rate(self) -> float:
        """Tokens per second, median over the runs."""
        return median(self.rates)

    @property
    def tokens_per_forward(self) -> float | None:
        """Sum of tokens over sum of forwards."""
        return over(sum(len(answer.ids) for answer in self.answers), sum(answer.forwards for answer in self.answers))

    @property
    def decode_rate(self) -> float | None:
        """One stream's tokens per second after its first output; None when every answer was told at once."""
        tokens = sum(len(answer.ids) - answer.told_first for answer in self.answers)
        return over(tokens, sum(answer.ended - answer.first for answer in self.answers)) if tokens else None


def over(part: float | None, whole: float | None) -> float | None:
    """A ratio; None where either side is missing or nothing is divided by."""
    return part / whole if part is not None and whole else None


def percentile(values: Iterable[float], percent: float) -> float:
    """The least value that so many percent of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(len(ordered) * percent / 100)) - 1]


def filled(table: Table, lines: Mapping[str, str], result: Mapping[str, Any]) -> Table:
    """The table with a row for each name and the form of its figures; what is None was not measured."""
    told = {name: "not measured" if value is None else value for name, value in result.items()}
    for name, form in lines.items():
        table.add_row(name, form.format(told))
    return table


def weighted_mean(tokens: dict[Mode, int], rates: dict[Mode, float]) -> float | None:
    """Tokens per second if each mode's tokens took what they take alone; None when a mode was not measured alone."""
    if not tokens.keys() <= rates.keys():
        return None
    return over(sum(tokens.values()), sum(count / rates[mode] for mode, count in tokens.items()))


@dataclass(frozen=True, slots=True)
class Standings:
    """All lanes of one race; each figure that compares lanes is None when its other side did not run."""

    measured: Sequence[Measured]

    def find(self, name: str, concurrency: int) -> Measured | None:
        """The lane of that name and concurrency."""
        return next((m for m in self.measured if (m.lane.name, m.lane.concurrency) == (name, concurrency)), None)

    def speedup(self, own: Measured) -> float | None:
        """Over `ar` at the same concurrency."""
        reference = self.find(Mode.AR, own.lane.concurrency)
        return over(own.rate, reference.rate) if reference else None

    def scaling(self, own: Measured) -> float | None:
        """Over the same mode at concurrency 1."""
        reference = self.find(own.lane.name, 1)
        return over(own.rate, reference.rate) if reference else None

    def share_of_mean(self, own: Measured) -> float | None:
        """A mixed lane's rate over the weighted mean of its modes alone at that concurrency; None for a lane of one mode."""
        if len(own.lane.modes) == 1:
            return None
        tokens: Counter[Mode] = Counter()
        for answer in own.answers:
            tokens[answer.mode] += len(answer.ids)
        alone = {mode: self.find(mode, own.lane.concurrency) for mode in own.lane.modes}
        return over(own.rate, weighted_mean(tokens, {mode: found.rate for mode, found in alone.items() if found}))

    def matches(self, own: Measured) -> float | None:
        """The fraction of answers with the ids that `ar` gave at the lowest concurrency."""
        reference = next((m for m in self.measured if m.lane.name == Mode.AR), None)
        if reference is None:
            return None
        texts = {answer.place: answer.ids for answer in reference.runs[0].answers}
        return over(sum(answer.ids == texts[answer.place] for answer in own.answers), len(own.answers))


def row(standings: Standings, own: Measured, passed: Callable[[Answer], bool] | None) -> dict[str, Any]:
    """One row of the JSON; times in milliseconds. `passed` judges an answer, None when nobody can."""
    speedup, answers = standings.speedup(own), own.answers
    first = [1000 * (answer.first - answer.asked) for answer in answers]
    latency = [1000 * (answer.ended - answer.asked) for answer in answers]
    return {
        "mode": own.lane.name,
        "concurrency": own.lane.concurrency,
        "block_length": own.lane.block,
        "tokens_per_second": _short(own.rate),
        "tokens_per_second_spread": [_short(min(own.rates)), _short(max(own.rates))],
        "decode_tokens_per_second": _short(own.decode_rate),
        "tokens_per_forward": _short(own.tokens_per_forward),
        "speedup_over_ar": _short(speedup),
        "share_of_tokens_per_forward": _short(over(speedup, own.tokens_per_forward)),
        "throughput_over_one": _short(standings.scaling(own)),
        "share_of_weighted_mean": _short(standings.share_of_mean(own)),
        "ttft_ms_p50": _short(percentile(first, 50)),
        "ttft_ms_p99": _short(percentile(first, 99)),
        "latency_ms_p50": _short(percentile(latency, 50)),
        "latency_ms_p99": _short(percentile(latency, 99)),
        "task_accuracy": passed and _short(over(sum(map(passed, answers)), len(answers))),
        "matches_ar": _short(standings.matches(own)),
        "tokens": sum(len(answer.ids) for answer in answers),
        "forwards": sum(answer.forwards for answer in answers),
    }


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


_THROUGHPUT: Final = (
    ("tok/s", "tokens_per_second", "{:.0f}"),
    ("min", "tokens_per_second_spread", "{0[0]:.0f}"),
    ("max", "tokens_per_second_spread", "{0[1]:.0f}"),
    ("tok / fwd", "tokens_per_forward", "{:.2f}"),
    ("x ar", "speedup_over_ar", "{:.2f}"),
    ("share", "share_of_tokens_per_forward", "{:.2f}"),
    ("x one", "throughput_over_one", "{:.2f}"),
    ("of mean", "share_of_weighted_mean", "{:.2f}"),
)
_ANSWERS: Final = (
    ("stream tok/s", "decode_tokens_per_second", "{:.0f}"),
    ("first ms", "ttft_ms_p50", "{:.1f}"),
    ("p50 ms", "latency_ms_p50", "{:.0f}"),
    ("p99 ms", "latency_ms_p99", "{:.0f}"),
    ("correct", "task_accuracy", "{:.0%}"),
    ("as ar", "matches_ar", "{:.0%}"),
)
CAPTION: Final = (
    f"{FORWARDS}\nn: answers under way at once; share: x ar over tok / fwd; x one: over the same mode at n = 1; "
    "of mean: over the weighted mean of its modes alone."
)


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """Throughput, with the definition of a forward below it, then latency and answers; both fit 80 columns."""
    return [_table(rows, "throughput", _THROUGHPUT, CAPTION), _table(rows, "latency and answers", _ANSWERS, None)]


def _table(rows: Sequence[dict[str, Any]], title: str, columns: Sequence[tuple[str, str, str]], caption: str | None) -> Table:
    made = Table(title=title, caption=caption, caption_justify="left", box=SIMPLE, pad_edge=False, collapse_padding=True)
    made.add_column("mode", no_wrap=True)
    for name in ("n", "block", *(head for head, _, _ in columns)):
        made.add_column(name, justify="right")
    for each in rows:
        figures = ("-" if each[key] is None else form.format(each[key]) for _, key, form in columns)
        made.add_row(each["mode"], str(each["concurrency"]), str(each["block_length"]), *figures)
    return made
