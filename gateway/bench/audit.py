"""`palimpsest bench audit` as it runs: engine, gateway and gateway with its log in turn, then what the log alone can take.

The database is a throwaway embedded PostgreSQL with every durability on, unless the configured one is asked for; its log
then keeps the benchmark's tenants for ever, as it keeps everything.
"""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from statistics import median
from typing import Any, Final
from uuid import uuid4

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from uvicorn.loops.auto import auto_loop_factory

import policies
from audit.store import read_tenant
from audit.writer import SYSTEM
from engine.model.checkpoint import LoadedModel, load
from engine.request import Mode
from gateway.bench.errors import BenchError
from gateway.bench.lanes import Course, Lane, Run, block_of
from gateway.bench.logged import Asked, Cpu, Recorded, Way, ask_all
from gateway.bench.modes import as_chat, cpu_name, questions
from gateway.bench.place import place
from gateway.bench.streams import WIDTH, Flow, flow
from gateway.bench.table import filled, percentile
from gateway.database import Urls, open_database
from gateway.house import House
from gateway.postgres import postmaster_pid
from gateway.postgres_place import find_place
from gateway.settings import DatabaseUrl, Settings

DEFINITIONS: Final = {
    "throughput_ratio_on_off": "tokens per second with admission, log and release around the engine / without them",
    "records_per_second": "durable block records of 32 tokens and 8 steps that the synthetic streams got per second",
    "commit_ms": "what one such record waited from append to durable",
    "throughput_ratio_log": "tokens per second with the log / of the same gateway with a log that keeps nothing",
    "cpu_us_per_block": "processor microseconds of database and gateway, its engine thread apart, per block of output tokens",
    "cpu_us_per_block_log": "the same, less what the gateway takes with a log that keeps nothing",
    "bytes_per_million_tokens": "growth of tables and indexes per million tokens of synthetic blocks; the tenant has 8 letters",
}


@dataclass(frozen=True, slots=True)
class AuditWish:
    """What was asked for; `seconds` is how long each synthetic run lasts, `here` uses the configured database.

    `ignore_eos` gives every answer `max_tokens`: long streams, in which admission and release hardly count.
    """

    mode: Mode
    block: int
    max_tokens: int
    ignore_eos: bool
    questions: int
    concurrency: int
    streams: int
    seconds: float
    repeats: int
    threads: int
    here: bool
    load_average: float
    busy: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """The engine alone, right after it the gateway with a log that keeps nothing, then the gateway as it serves."""

    alone: Run
    unlogged: Recorded
    logged: Recorded

    @property
    def ratio(self) -> float:
        """Tokens per second of the gateway over the engine's."""
        return self.logged.rate / (self.alone.tokens / self.alone.seconds)

    @property
    def ratio_of_log(self) -> float:
        """Tokens per second of the gateway over its own where nothing is kept."""
        return self.logged.rate / self.unlogged.rate


def run(wish: AuditWish, settings: Settings, console: Console) -> dict[str, Any]:
    """The whole benchmark, with progress and a table on `console`; returns the JSON.

    Raises what database, engine and log raise when they cannot run, and BenchError when an answer fails.
    """
    if wish.concurrency > settings.max_generations:
        raise BenchError(f"{wish.concurrency} answers at once are over PALIMPSEST_MAX_GENERATIONS={settings.max_generations}")
    model = load(settings.checkpoint, device=settings.device)
    if wish.ignore_eos:  # no mask is ever committed, so none can end an answer
        model = replace(model, config=replace(model.config, eos_token_id=model.config.mask_token_id))
    with place(settings, wish.here) as used, open_database(used, console.print) as urls:
        columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, auto_refresh=False) as progress:
            bar = progress.add_task("", total=2 * wish.repeats + 2, completed=-1)
            bench = _Bench(
                wish, used, urls, model, lambda what: progress.update(bar, advance=1, description=what, refresh=True)
            )
            with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:  # as the gateway is served
                result = runner.run(bench.run())
    console.print(_table(result))
    return result


class _Bench:
    def __init__(
        self, wish: AuditWish, settings: Settings, urls: Urls, model: LoadedModel, tell: Callable[[str], None]
    ) -> None:
        self._wish, self._urls, self._tell = wish, urls, tell
        self._house = House(settings, urls, model, policies.load(policies.BASELINE))
        self._prompts = [each.prompt for each in questions(wish.questions)]
        self._asked = Asked(wish.mode, block_of(wish.mode, wish.block), wish.max_tokens)
        postmaster = postmaster_pid(find_place(settings.home)) if settings.database is None else None
        self._cpu = Cpu("engine", postmaster)
        self._engine = self._house.intake.engine
        chats = [as_chat(model, text) for text in self._prompts]
        self._course = Course(self._engine, chats, wish.max_tokens, model.config.eos_token_id)

    async def run(self) -> dict[str, Any]:
        await self._house.start()
        try:
            self._tell("warm-up")
            await self._turn()
            turns = []
            for place in range(self._wish.repeats):
                self._tell(f"{place + 1} of {self._wish.repeats}: engine, gateway, log")
                turns.append(await self._turn())
            return self._document(turns, *await self._flows())
        finally:
            await self._house.stop()

    async def _turn(self) -> Turn:
        wish = self._wish
        lane = Lane(wish.mode.value, (wish.mode,), wish.concurrency, self._asked.block)
        # By the same engine and thread: two would have the process's helpers between them (kernels/cpu/hands.h).
        alone = await self._course.run_on(self._house.engine, lane)
        ways = (Way.unrecorded(self._house), Way.recorded(self._house))
        return Turn(alone, *[await self._ask_all(way) for way in ways])

    async def _ask_all(self, way: Way) -> Recorded:
        return await ask_all(self._house, way, self._prompts, self._asked, self._wish.concurrency, self._cpu)

    async def _flows(self) -> tuple[list[Flow], float]:
        """The synthetic streams, and the bytes by which the log grew per record."""
        tenant, wish = f"b{uuid4().hex[:7]}", self._wish
        self._tell("streams: warm-up")
        await flow(self._house.writer, tenant, wish.streams, min(1.0, wish.seconds))
        flows, before = [], await asyncio.to_thread(_log_bytes, self._urls.reader)
        for turn in range(wish.repeats):
            self._tell(f"streams: {turn + 1} of {wish.repeats}")
            flows.append(await flow(self._house.writer, tenant, wish.streams, wish.seconds))
        grown = await asyncio.to_thread(_log_bytes, self._urls.reader) - before
        self._tell("done")
        return flows, grown / sum(found.records for found in flows)

    def _document(self, turns: Sequence[Turn], flows: Sequence[Flow], record_bytes: float) -> dict[str, Any]:
        wish = self._wish
        costs = [turn.logged.cpu_us_per_block(self._asked.block) for turn in turns]
        beside = [turn.unlogged.cpu_us_per_block(self._asked.block) for turn in turns]
        seen = self._cpu.postmaster is not None  # another machine's database shows nobody its processor
        waits = [wait for found in flows for wait in found.waits]
        return {
            "device": str(self._house.intake.model.device),
            "cpu": cpu_name(),
            "processors": os.cpu_count(),
            "numeric": self._engine.numeric.value,
            "dtype": self._engine.dtype,
            "threads": wish.threads,
            "python": platform.python_version(),
            "torch": version("torch"),
            "model": self._house.intake.model.name,
            "mode": wish.mode.value,
            "block_length": self._asked.block,
            "concurrency": wish.concurrency,
            "streams": wish.streams,
            "tokens_per_answer": median(len(answer.ids) for turn in turns for answer in turn.alone.answers),
            "load_at_start": round(wish.load_average, 2),
            "busy": wish.busy,
            "engine_tokens_per_second": spread(turn.alone.tokens / turn.alone.seconds for turn in turns),
            "unlogged_tokens_per_second": spread(turn.unlogged.rate for turn in turns),
            "logged_tokens_per_second": spread(turn.logged.rate for turn in turns),
            "throughput_ratio_on_off": round(median(turn.ratio for turn in turns), 3),
            "throughput_ratio_spread": [round(bound(turn.ratio for turn in turns), 3) for bound in (min, max)],
            "throughput_ratio_log": round(median(turn.ratio_of_log for turn in turns), 3),
            "throughput_ratio_log_spread": [round(bound(turn.ratio_of_log for turn in turns), 3) for bound in (min, max)],
            "cpu_us_per_block": round(median(map(sum, costs)), 1) if seen else None,
            "cpu_us_per_block_log": round(median(map(sum, costs)) - median(map(sum, beside)), 1) if seen else None,
            "cpu_us_per_block_gateway": round(median(gateway for gateway, _ in costs), 1),
            "cpu_us_per_block_database": round(median(database for _, database in costs), 1) if seen else None,
            "records_per_second": round(median(found.rate for found in flows), 1),
            "records_per_second_spread": [round(bound(found.rate for found in flows), 1) for bound in (min, max)],
            "commit_ms_p50": round(1e3 * percentile(waits, 50), 2),
            "commit_ms_p99": round(1e3 * percentile(waits, 99), 2),
            "bytes_per_million_tokens": round(1e6 * record_bytes / WIDTH),
            "definitions": DEFINITIONS,
        }


def spread(rates: Iterator[float]) -> list[float]:
    """Median, least and most."""
    found = sorted(rates)
    return [round(median(found), 1), round(found[0], 1), round(found[-1], 1)]


def _log_bytes(reader_url: DatabaseUrl) -> int:
    with read_tenant(reader_url, SYSTEM) as reader:
        return reader.disk_bytes()


def _table(result: dict[str, Any]) -> Table:
    table = Table("figure", "value", title=f"the log's price: {result['mode']}, {result['numeric']}, {result['dtype']}")
    lines = {
        "engine alone, tokens/s (min, max)": "{0[engine_tokens_per_second]}",
        "gateway that keeps nothing, tokens/s": "{0[unlogged_tokens_per_second]}",
        "gateway with its log, tokens/s": "{0[logged_tokens_per_second]}",
        "with log / engine alone": "{0[throughput_ratio_on_off]} {0[throughput_ratio_spread]}",
        "with log / keeping nothing": "{0[throughput_ratio_log]} {0[throughput_ratio_log_spread]}",
        "CPU us per block (gateway + database)": (
            "{0[cpu_us_per_block]} ({0[cpu_us_per_block_gateway]} + {0[cpu_us_per_block_database]})"
        ),
        "of which the log": "{0[cpu_us_per_block_log]}",
        "synthetic records/s": "{0[records_per_second]} {0[records_per_second_spread]}",
        "commit ms, p50 / p99": "{0[commit_ms_p50]} / {0[commit_ms_p99]}",
        "MB per million tokens": f"{result['bytes_per_million_tokens'] / 1e6:.1f}",
    }
    return filled(table, lines, result)
