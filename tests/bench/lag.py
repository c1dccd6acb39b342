"""How long the gateway's event loop is kept from looking around while bodies that are big, deep or odd are served.

    python -m tests.bench.lag [--json FILE] [--repeats N] [--busy]

The house and its application run in this process, over a throwaway database. A task gives the loop back all the time: `lag` is
the longest that it waited to be called again, by the clock, so work in other threads that does not let go of the interpreter
counts too; `cpu` is what of it the loop's own thread computed. Of several repeats the best is told, as a neighbour's work on
the machine makes any of them longer and none shorter. Exit status 1 if a lag is above 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any, Final

import structlog
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

import policies
from gateway.app import create_app
from gateway.bench.place import place
from gateway.cli.bench import refusal
from gateway.database import open_database
from gateway.guest import guest
from gateway.house import House
from gateway.json_file import write_json
from gateway.settings import Settings
from tests.gateway.asgi import Reader
from tests.gateway.housed import CHAT
from tests.gateway.test_hostile_bodies import BODIES
from tests.gateway.tooled import tooled

LAG_MOST_MS: Final = 50.0


@contextmanager
def probed() -> Iterator[list[tuple[float, float]]]:
    """Of each look around of the loop how long it took: seconds by the clock, and of its thread's processor."""
    found: list[tuple[float, float]] = []

    async def look() -> None:
        while True:
            clock, processor = perf_counter(), thread_time()
            await asyncio.sleep(0)
            found.append((perf_counter() - clock, thread_time() - processor))

    task = asyncio.create_task(look())
    try:
        yield found
    finally:
        task.cancel()


async def measure(house: House, key: str, repeats: int) -> list[dict[str, Any]]:
    """Send every body so often; times in milliseconds."""
    await house.start()
    try:
        app, rows = create_app(house), []
        for name, (body, _) in BODIES.items():
            best = (float("inf"),) * 3
            for _ in range(repeats):
                client, started = Reader(), perf_counter()
                with probed() as gaps:
                    await client.ask(app, CHAT, body, key)
                clocks, processors = zip(*gaps, strict=True)
                best = (min(best[0], max(clocks)), min(best[1], max(processors)), min(best[2], perf_counter() - started))
            lag, cpu, whole = (round(1e3 * seconds, 1) for seconds in best)
            rows.append({"body": name, "status": client.status, "lag_ms": lag, "cpu_ms": cpu, "request_ms": whole})
        return rows
    finally:
        await house.stop()


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("body", "status", "lag ms", "cpu ms", "request ms", box=SIMPLE, pad_edge=False)
    for row in rows:
        table.add_row(*(str(row[name]) for name in ("body", "status", "lag_ms", "cpu_ms", "request_ms")))
    return table


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.lag", description="what hostile bodies do to the event loop")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--repeats", type=int, default=5, choices=range(1, 101), metavar="N")
    parser.add_argument("--busy", action="store_true", help="measure on a loaded machine, and say so in the JSON")
    asked, load_average, console = parser.parse_args(), os.getloadavg()[0], Console()
    if why := refusal(load_average, asked.busy):
        raise SystemExit(why)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with (
        place(Settings.read(os.environ), here=False) as settings,
        open_database(settings, console.print) as urls,
        guest(settings, urls, "bench", "bench") as key,
    ):
        house = House(settings, urls, tooled(), policies.load(policies.BASELINE))
        gc.freeze()  # as the gateway does once it has its weights: collections that looked at them would be told as lags
        rows = asyncio.run(measure(house, key, asked.repeats))
    console.print(_table(rows))
    result = {"load_at_start": round(load_average, 2), "busy": asked.busy, "repeats": asked.repeats, "rows": rows}
    write_json(asked.json, result)
    raise SystemExit(any(row["lag_ms"] > LAG_MOST_MS for row in rows))


if __name__ == "__main__":
    main()
