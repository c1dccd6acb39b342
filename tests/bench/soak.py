"""The soak: a crowd at once, then a steady random load with aborts, while memory is watched.

    python -m tests.bench.soak [--minutes 10] [--crowd 500] [--threads 2] [--json FILE]

The crowd: so many short requests of all modes are submitted before the engine takes its first step, into a line that holds just
them; one more must be refused. The wait of a request is the time from its submission to its first output.

The load: requests of all modes, block lengths, temperatures and gates are kept in flight, some are aborted at a random moment,
and now and then the engine drains until it is idle and its page pool is counted. The pool is so small that it is always full,
hence preemptions. Resident memory is sampled; its flatness is the median of the last third of the samples over that of the
first third, behind a warm-up of one fifth.

Exit status 0 if all of the crowd finished, the one too many was refused, and nothing failed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import Any
from uuid import UUID

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from engine.engine import Engine
from engine.errors import Busy
from engine.events import Event, Finished, FinishReason, Noted, NoteKind, Output, Prefilled
from engine.model.checkpoint import LoadedModel, load
from engine.numeric import STRICT, Arithmetic, fast
from engine.request import GenerationRequest
from engine.scheduler import Capacity
from gateway.json_file import write_json
from tests.bench.exact import varied
from tests.engine.small import TINY

SHORT = 16
IN_FLIGHT = 24
ABORT_CHANCE = 0.02
"""Per step, that one of the generations in flight is aborted."""

DRAIN_SECONDS = 20.0
WARM_UP = 0.2
PAGES = 32


@dataclass(slots=True)
class Tally:
    """What happened, in numbers only: nothing here grows with the length of the run."""

    admitted: int = 0
    tokens: int = 0
    reasons: Counter[FinishReason] = field(default_factory=Counter)
    notes: Counter[NoteKind] = field(default_factory=Counter)
    prefix_hits: int = 0
    steps: int = 0
    idle_checks: int = 0

    def read(self, event: Event) -> None:
        """Count one event."""
        match event:
            case Finished():
                self.reasons[event.reason] += 1
                self.tokens += event.tokens
            case Noted():
                self.notes[event.note] += 1
            case Prefilled() if event.cached:
                self.prefix_hits += 1
            case _:
                pass

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "requests": self.admitted,
            "tokens": self.tokens,
            "steps": self.steps,
            "reasons": {reason.value: self.reasons[reason] for reason in FinishReason},
            "notes": {note.value: self.notes[note] for note in NoteKind},
            "prefix_hits": self.prefix_hits,
            "idle_checks": self.idle_checks,
        }


def check_idle(engine: Engine, tally: Tally) -> None:
    """Without generations every page must be free or cached, with no reference left. Raises PageFault otherwise."""
    engine._pool.check()
    tally.idle_checks += 1


def crowd(given: LoadedModel, arithmetic: Arithmetic, size: int, progress: Progress) -> dict[str, Any]:
    """Everybody at once; one more than the line holds is refused."""
    engine, tally = Engine(given, arithmetic, Capacity(waiting=size)), Tally()
    asked: dict[UUID, float] = {}
    for number in range(size):
        request = varied(given, number, SHORT)
        engine.submit(request)
        asked[request.id] = perf_counter()
    refused = _is_refused(engine, varied(given, size, SHORT))
    bar = progress.add_task(f"a crowd of {size}", total=size)
    waits: dict[UUID, float] = {}
    while not engine.idle():
        events, now = engine.step(), perf_counter()
        tally.steps += 1
        for event in events:
            tally.read(event)
            if isinstance(event, Output) and event.output:
                waits.setdefault(event.generation, now - asked[event.generation])
        progress.update(bar, completed=tally.reasons.total())
    tally.admitted = size
    check_idle(engine, tally)
    return {
        "finished": tally.reasons[FinishReason.STOP] + tally.reasons[FinishReason.LENGTH],
        "one_too_many_refused": refused,
        "wait_s_median": round(median(waits.values()), 4),
        "wait_s_max": round(max(waits.values()), 4),
        "max_over_median_wait": round(max(waits.values()) / median(waits.values()), 3),
        **tally.document(),
    }


def _is_refused(engine: Engine, request: GenerationRequest) -> bool:
    try:
        engine.submit(request)
    except Busy:
        return True
    return False


@dataclass(slots=True)
class Load:
    """A steady random load on one engine: `in_flight` holds the ids of what was submitted and has not ended."""

    engine: Engine
    given: LoadedModel
    tally: Tally = field(default_factory=Tally)
    random: Random = field(default_factory=lambda: Random(1))
    in_flight: dict[UUID, None] = field(default_factory=dict)

    def fill(self) -> None:
        """Keep the engine busy."""
        while len(self.in_flight) < IN_FLIGHT:
            request = varied(self.given, 10_000 + self.tally.admitted)
            self.engine.submit(request)
            self.in_flight[request.id] = None
            self.tally.admitted += 1

    def step(self) -> None:
        """One step, perhaps with an abort before it."""
        if self.in_flight and self.random.random() < ABORT_CHANCE:
            self.engine.abort(self.random.choice(list(self.in_flight)))
        self.tally.steps += 1
        for event in self.engine.step():
            self.tally.read(event)
            if isinstance(event, Finished):
                del self.in_flight[event.generation]

    def drain(self) -> None:
        """Run dry, and count the pages."""
        while not self.engine.idle():
            self.step()
        check_idle(self.engine, self.tally)


def memory() -> int:
    """Resident bytes of this process, from /proc."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def soak(load: Load, seconds: float, every: float, progress: Progress) -> dict[str, Any]:
    """Load the engine for so long, and sample memory `every` so many seconds."""
    bar = progress.add_task("steady load", total=seconds)
    started = perf_counter()
    sample_due, drain_due = every, DRAIN_SECONDS
    samples: list[int] = []
    while (now := perf_counter() - started) < seconds:
        load.fill()
        load.step()
        if now >= sample_due:
            samples.append(memory())
            sample_due += every
            progress.update(bar, completed=now)
        if now >= drain_due:
            load.drain()
            drain_due = now + DRAIN_SECONDS
    load.drain()
    progress.update(bar, completed=seconds)
    return {
        "seconds": round(perf_counter() - started, 1),
        "rss_mib": [round(sample / 2**20, 1) for sample in samples],
        "rss_flatness": flatness(samples),
        **load.tally.document(),
    }


def flatness(samples: Sequence[int]) -> float | None:
    """Median of the last third over that of the first third, behind the warm-up; None for less than three samples."""
    settled = samples[int(len(samples) * WARM_UP) :]
    third = len(settled) // 3
    return round(median(settled[-third:]) / median(settled[:third]), 4) if third else None


def verdict(result: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a result, if anything."""
    everybody, steady = result["crowd"], result["soak"]
    if everybody["finished"] != everybody["requests"]:
        yield f"{everybody['requests'] - everybody['finished']} of the crowd did not finish"
    if not everybody["one_too_many_refused"]:
        yield "the line took more than it holds"
    if steady["reasons"]["fault"]:
        yield f"{steady['reasons']['fault']} generations failed"
    if sum(steady["reasons"].values()) != steady["requests"]:
        yield "some generations of the load never ended"


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 100_000:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description="a crowd, then a long random load")
    parser.add_argument("--minutes", type=_positive, default=10.0, metavar="N", help="length of the load")
    parser.add_argument("--crowd", type=int, default=500, choices=range(1, 10_001), metavar="N", help="requests at once")
    parser.add_argument("--sample", type=_positive, default=5.0, metavar="S", help="seconds between two looks at memory")
    parser.add_argument("--numeric", default="fast", choices=("fast", "strict"))
    parser.add_argument("--threads", type=int, default=2, choices=(1, 2))
    parser.add_argument("--json", type=Path, help="write the result to this file")
    return parser.parse_args()


def main() -> None:
    """The command line."""
    asked_for, console = _arguments(), Console()
    torch.set_num_threads(asked_for.threads)
    given, arithmetic = load(TINY), STRICT if asked_for.numeric == "strict" else fast()
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        everybody = crowd(given, arithmetic, asked_for.crowd, progress)
        engine = Engine(given, arithmetic, Capacity(pages=PAGES))
        steady = soak(Load(engine, given), asked_for.minutes * 60, asked_for.sample, progress)
    about = {"device": "cpu", "numeric": engine.numeric.value, "dtype": engine.dtype, "threads": torch.get_num_threads()}
    result = about | {"model": given.name, "crowd": everybody, "soak": steady}
    console.print_json(data=result)
    write_json(asked_for.json, result)
    if wrong := list(verdict(result)):
        sys.exit("; ".join(wrong))


if __name__ == "__main__":
    main()
