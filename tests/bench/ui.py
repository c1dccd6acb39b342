"""The server's time for every page and every answer of the API over a large log.

    python -m tests.bench.ui [--generations 1000000] [--approvals 10000] [--repeats 15] [--limit-ms 150] [--json FILE]

Requests are recorded by the real writer, the projector follows them, and then each address that the application knows is
asked, by a signed-in person with every role, a key or the token of numbers, inside this process: no network, no browser. A row
is the median over the repeats, after two that do not count. Exit status 1 if a median is above the limit, or an address does
not answer.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from gateway import logs
from gateway.json_file import write_json
from gateway.people.names import Role
from gateway.postgres import Durability
from gateway.projections.projector import Standing
from tests.audit.writer_samples import TENANT
from tests.bench.ui_addresses import Address, Known, addresses
from tests.bench.ui_traffic import Traffic, write
from tests.gateway.api.offices import held, law
from tests.gateway.projections.histories import TEXT, digest
from tests.gateway.ui.browsing import Browser, Site, site
from tests.postgres_fixtures import Database, copied, running

UNCOUNTED: Final = 2
TOKEN: Final = "the-bench-watches"
"""With it `GET /metrics` is served."""


@dataclass(frozen=True, slots=True)
class Row:
    """One address: the median and the slowest of its repeats, in milliseconds, and the size of its answer."""

    address: str
    route: str
    who: str
    status: int
    median_ms: float
    slowest_ms: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Filled:
    """How the log came about: seconds of writing and of following, and how many records it has."""

    records: int
    write_seconds: float
    follow_seconds: float


async def fill(here: Site, generations: int, approvals: int, bar: Progress) -> Filled:
    """Record the requests and bring them into the tables."""
    house = here.housed.house
    task, begun = bar.add_task("recorded", total=generations), time.perf_counter()
    await write(house.writer, Traffic(TENANT).requests(generations, approvals), lambda more: bar.advance(task, more))
    wrote = time.perf_counter()
    following = bar.add_task("followed", total=None)

    def told(at: Standing) -> None:
        bar.update(following, completed=at.followed, total=at.size)

    await asyncio.to_thread(house.projector.follow, TENANT, told)
    return Filled(here.housed.log.size(), wrote - begun, time.perf_counter() - wrote)


async def measure(address: Address, ask: Callable[[str], Any], repeats: int) -> Row:
    """Ask an address again and again."""
    seconds, status, size = list[float](), 0, 0
    for number in range(UNCOUNTED + repeats):
        begun = time.perf_counter()
        answer = await ask(address.path)
        if number >= UNCOUNTED:
            seconds.append(time.perf_counter() - begun)
        status, size = answer.status_code, len(answer.content)
    median, slowest = statistics.median(seconds) * 1000, max(seconds) * 1000
    return Row(address.shown, address.route, address.who, status, round(median, 1), round(slowest, 1), size)


async def bench(database: Database, home: Path, args: argparse.Namespace, bar: Progress) -> tuple[Filled, list[Row]]:
    """All of it over one database."""
    async with visited(database, home) as (here, browser):
        filled = await fill(here, args.generations, args.approvals, bar)
        found = addresses(here, await known(here, browser))
        task, rows = bar.add_task("measured", total=len(found)), list[Row]()
        ask = here.housed.client.get
        watch = partial(ask, headers={"authorization": f"Bearer {TOKEN}"})
        clients: dict[str, Callable[[str], Any]] = {"person": browser.client.get, "key": ask, "token": watch}
        for address in found:
            rows.append(await measure(address, clients[address.who], args.repeats))
            bar.advance(task)
    return filled, rows


@asynccontextmanager
async def visited(database: Database, home: Path) -> AsyncIterator[tuple[Site, Browser]]:
    """A house that holds what it is asked, and somebody who may do everything."""
    async with site(database, home, law(), metrics_token=TOKEN) as here, here.signed_in("ada", *Role) as browser:
        yield here, browser


async def known(here: Site, browser: Browser) -> Known:
    """What addresses are about: two real held answers, a place in the middle of the lists, and what is searched for."""
    house = here.housed.house
    drafted, speculated = [await held(here.housed, number, mode) for number, mode in enumerate(("diffusion", "linear_spec"))]
    generations, approvals = [
        (await browser.client.get(f"/api/{lists}?rows=200")).json()["next"] or "" for lists in ("generations", "approvals")
    ]
    policy = bytes(house.laws.active(TENANT).digest).hex()
    return Known(drafted, speculated, generations, approvals, policy, digest(TEXT).hex(), house.intake.model.name)


def shown(rows: list[Row], limit: float) -> Table:
    """What was measured, the slowest first."""
    table = Table("address", "by", *(Column(name, justify="right") for name in ("status", "median ms", "slowest ms", "KiB")))
    for row in sorted(rows, key=lambda row: -row.median_ms):
        style = "red" if row.median_ms > limit or row.status >= 400 else ""
        figures = (str(row.status), f"{row.median_ms:.1f}", f"{row.slowest_ms:.1f}", f"{row.bytes / 1024:.1f}")
        table.add_row(row.address, row.who, *figures, style=style)
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ui", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--generations", type=int, default=1_000_000, help="requests that are recorded (default 1,000,000)")
    parser.add_argument("--approvals", type=int, default=10_000, help="how many of them wait for people (default 10,000)")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--limit-ms", type=float, default=150.0)
    parser.add_argument("--home", type=Path, help="an empty folder for database and keys, removed at the end")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """The command line."""
    args, console = _arguments(), Console()
    logs.configure(logging.WARNING)
    load = os.getloadavg()[0]
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=args.home)))
        database = stack.enter_context(copied(stack.enter_context(running(folder / "cluster", Durability.VOLATILE))))
        bar = stack.enter_context(Progress(*columns, console=Console(stderr=True)))
        filled, rows = asyncio.run(bench(database, folder / "home", args, bar))
    console.print(shown(rows, args.limit_ms))
    about = {"generations": args.generations, "approvals": args.approvals, "repeats": args.repeats, "limit_ms": args.limit_ms}
    machine = {"cpus": os.cpu_count(), "load_before": round(load, 2), "load_after": round(os.getloadavg()[0], 2)}
    result = about | {"machine": machine, "filled": asdict(filled), "rows": [asdict(row) for row in rows]}
    console.print_json(data={name: value for name, value in result.items() if name != "rows"})
    write_json(args.json, result)
    slow = [row.address for row in rows if row.median_ms > args.limit_ms or row.status >= 400]
    if slow:
        sys.exit(f"above {args.limit_ms:g} ms, or not answered: {', '.join(slow)}")


if __name__ == "__main__":
    main()
