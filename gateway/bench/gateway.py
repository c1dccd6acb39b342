"""`palimpsest bench gateway` as it runs: what the whole gateway adds to the engine, with every record durable.

The gateway is a process of its own, as it is served; its requests come from this one. In it a second engine with the same
model answers the same questions by itself. They are asked in turns, some of the one and right after it the same of the other,
so the difference is what HTTP, law, log and release take, and whatever a machine's drift does to one it does to the other. A
question is asked once, so neither finds it in its cache. After each turn pages are flushed to the disk that holds the log.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from engine.engine import Engine
from engine.model.checkpoint import LoadedModel, load
from engine.request import Mode
from gateway.bench.fsync import Fsync
from gateway.bench.http_load import Door, Load, ask_all
from gateway.bench.lanes import Course, Lane, block_of
from gateway.bench.modes import as_chat, cpu_name, questions
from gateway.bench.place import environ_of, place
from gateway.bench.table import filled, percentile
from gateway.database import open_database
from gateway.gateway_process import gateway_process
from gateway.guest import guest
from gateway.postgres_place import find_place
from gateway.settings import Settings

TENANT: Final = "bench"
CHAT: Final = "/v1/chat/completions"
WARM: Final = 4
TURN: Final = 20
"""Questions asked of one, then of the other: each as warm as one client keeps it, who asks on and on."""
ALLOWED_MS: Final = 2.0
"""What the gateway may add at the median, beside two fsyncs."""
DEFINITIONS: Final = {
    "added_ms": "latency of an HTTP request, first byte sent to last byte read, less the engine's own time for the same "
    f"question, asked one after the other at concurrency 1, {TURN} of the one and then of the other",
    "fsync_ms_p50": "one 8 KiB page of a 16 MiB file on the log's disk flushed with fdatasync, between the turns",
    "added_ms_limit": f"{ALLOWED_MS:g} ms and two fsyncs: what the gateway may add at the median",
    "requests_per_second": "whole answers per second by concurrency; the engine's work is part of it",
    "engine_ms_p50": "the engine by itself, from ids to the last event",
}


@dataclass(frozen=True, slots=True)
class GatewayWish:
    """What was asked for: `pairs` questions for the added latency, `requests` at each concurrency for the rate."""

    mode: Mode
    block: int
    max_tokens: int
    pairs: int
    requests: int
    concurrency: Sequence[int]
    threads: int
    here: bool
    load_average: float
    busy: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """Seconds of one question: through the gateway, and of the engine by itself."""

    gateway: float
    engine: float

    @property
    def added(self) -> float:
        """What the gateway added."""
        return self.gateway - self.engine


def run(wish: GatewayWish, settings: Settings, console: Console) -> dict[str, Any]:
    """The whole benchmark, with progress and a table on `console`; returns the JSON.

    Raises what database, engine and gateway raise when they cannot run, and BenchError when a request is not answered.
    """
    model = load(settings.checkpoint, device=settings.device)
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        place(settings, wish.here) as used,
        open_database(used, console.print) as urls,
        guest(used, urls, TENANT, "bench") as key,
        gateway_process(used.home / "log" / "bench-gateway.log", environ_of(used)) as gateway,
        Fsync.in_folder(find_place(used.home).folder if used.database is None else used.home) as fsync,
        Progress(*columns, console=console, auto_refresh=False) as progress,
    ):
        bar = progress.add_task("", total=2 + len(wish.concurrency))
        bench = _Bench(wish, used, model, Door(gateway.url + CHAT, {"authorization": f"Bearer {key}"}), fsync)
        result = asyncio.run(bench.run(lambda what: progress.update(bar, advance=1, description=what, refresh=True)))
    console.print(_table(result))
    return result


class _Bench:
    def __init__(self, wish: GatewayWish, settings: Settings, model: LoadedModel, door: Door, fsync: Fsync) -> None:
        self._wish, self._model, self._door, self._fsync = wish, model, door, fsync
        self._engine, self._database = Engine(model, settings.numeric), settings.database
        block = block_of(wish.mode, wish.block)
        self._lane = Lane(wish.mode.value, (wish.mode,), 1, block)
        self._name = f"palimpsest-{settings.checkpoint.name}:{wish.mode.value}"
        count = WARM + wish.pairs + len(wish.concurrency) * (WARM + wish.requests)
        self._questions = iter([each.prompt for each in questions(count)])

    async def run(self, tell: Callable[[str], None]) -> dict[str, Any]:
        tell("pairs")
        await self._pairs(WARM)
        flushes: list[float] = []
        pairs = await self._pairs(self._wish.pairs, flushes)
        loads = {}
        for concurrency in self._wish.concurrency:
            tell(f"{concurrency} at a time")
            await ask_all(self._door, self._bodies(WARM), min(concurrency, WARM))
            loads[concurrency] = await ask_all(self._door, self._bodies(self._wish.requests), concurrency)
        tell("done")
        return self._document(pairs, flushes, loads)

    async def _pairs(self, count: int, flushes: list[float] | None = None) -> list[Pair]:
        """So many questions asked of both, in turns; the gateway first in every second."""
        pairs: list[Pair] = []
        for first in range(0, count, TURN):
            questions = list(islice(self._questions, min(TURN, count - first)))
            before = self._alone(questions) if first // TURN % 2 else None
            gateway = (await ask_all(self._door, map(self._body, questions), 1)).latencies
            engine = self._alone(questions) if before is None else before
            pairs += map(Pair, gateway, engine)
            if flushes is not None:
                flushes += [self._fsync.once() for _ in questions]
        return pairs

    def _alone(self, questions: Sequence[str]) -> list[float]:
        """Seconds of the engine by itself, of one question after the other."""
        bounds = (self._wish.max_tokens, self._model.config.eos_token_id)
        courses = [Course(self._engine, [as_chat(self._model, question)], *bounds) for question in questions]
        return [course.run(self._lane).seconds for course in courses]

    def _bodies(self, count: int) -> list[bytes]:
        return [self._body(next(self._questions)) for _ in range(count)]

    def _body(self, question: str) -> bytes:
        knob = {"block_length": self._lane.block}
        asked = {"model": self._name, "max_tokens": self._wish.max_tokens, "temperature": 0, "seed": 0, "palimpsest": knob}
        return json.dumps(asked | {"messages": [{"role": "user", "content": question}]}).encode()

    def _document(self, pairs: Sequence[Pair], flushes: Sequence[float], loads: dict[int, Load]) -> dict[str, Any]:
        wish, added, fsync = self._wish, [pair.added for pair in pairs], median(flushes)
        ours = self._database is None  # the disk of another machine's database is not the one that was flushed here
        return {
            "device": str(self._model.device),
            "cpu": cpu_name(),
            "processors": os.cpu_count(),
            "numeric": self._engine.numeric.value,
            "dtype": self._engine.dtype,
            "threads": wish.threads,
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("torch", "litestar", "uvicorn", "psycopg")},
            "model": self._name.partition(":")[0],
            "mode": wish.mode.value,
            "block_length": self._lane.block,
            "max_tokens": wish.max_tokens,
            "pairs": wish.pairs,
            "requests": wish.requests,
            "load_at_start": round(wish.load_average, 2),
            "busy": wish.busy,
            "added_ms_p50": _ms(median(added)),
            "added_ms_p99": _ms(percentile(added, 99)),
            "added_ms_limit": round(ALLOWED_MS + 2e3 * fsync, 3) if ours else None,
            "fsync_ms_p50": _ms(fsync) if ours else None,
            "fsync_ms_p99": _ms(percentile(flushes, 99)) if ours else None,
            "gateway_ms_p50": _ms(median(pair.gateway for pair in pairs)),
            "engine_ms_p50": _ms(median(pair.engine for pair in pairs)),
            "requests_per_second": {str(concurrency): round(load.rate, 1) for concurrency, load in loads.items()},
            "latency_ms_p50": {str(concurrency): _ms(median(load.latencies)) for concurrency, load in loads.items()},
            "latency_ms_p99": {str(concurrency): _ms(percentile(load.latencies, 99)) for concurrency, load in loads.items()},
            "definitions": DEFINITIONS,
        }


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 3)


def _table(result: dict[str, Any]) -> Table:
    title = f"the gateway's price: {result['mode']}, {result['numeric']}, {result['dtype']}"
    table = Table("figure", "value", title=title, caption="busy machine" if result["busy"] else None)
    lines = {
        "added ms, p50 / p99": "{0[added_ms_p50]} / {0[added_ms_p99]}",
        "allowed at p50: 2 ms and two fsyncs": "{0[added_ms_limit]}",
        "fsync ms, p50 / p99": "{0[fsync_ms_p50]} / {0[fsync_ms_p99]}",
        "gateway, engine alone, ms p50": "{0[gateway_ms_p50]}, {0[engine_ms_p50]}",
    }
    filled(table, lines, result)
    for concurrency, rate in result["requests_per_second"].items():
        latencies = (result[f"latency_ms_{which}"][concurrency] for which in ("p50", "p99"))
        table.add_row(f"requests/s, {concurrency} at a time", f"{rate}  (ms {' / '.join(map(str, latencies))})")
    return table
