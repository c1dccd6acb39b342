"""Real clients against a real gateway: `make clients`, or

    python -m tests.clients [--only NAME] [--hold SECONDS] [--cache DIR] [--keep DIR] [--json FILE]

Each client is installed by its package name, pointed at a gateway of this tree through a recorder that changes nothing, and
told to write one file. Afterwards every exchange is held against the strict grammar of its dialect, every generation against
its records, and the whole log is exported and verified offline. Exit status 0 if all of that held.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final

import anthropic
import openai
from rich.console import Console

from tests.clients import chatting, commands, sdks, vercel
from tests.clients.approver import approving, enact
from tests.clients.checkpoints import listener, tooled
from tests.clients.install import CannotInstall
from tests.clients.loops import Loop, Place
from tests.clients.outcome import Outcome, document, table
from tests.clients.recorder import recording
from tests.faults.crash import fresh_database
from tests.gateway.served import Served, serve
from tests.postgres_fixtures import Database

CACHE: Final = Path(__file__).parents[2] / "build" / "clients"

TABLE_WIDTH: Final = 110
"""Where no terminal says how wide it is."""

Loops = Callable[[Path], list[Loop]]

STAGES: Final[tuple[tuple[Callable[[Path], Path], tuple[Loops, ...]], ...]] = (
    (tooled, (lambda _: sdks.loops(), vercel.loops, commands.aider)),
    (listener, (commands.codex, commands.claude, chatting.opencode, chatting.qwen, chatting.continued)),
)
"""Which checkpoint serves whom."""


def outcomes(database: Database, folder: Path, cache: Path, only: str, hold: int | None, console: Console) -> Iterator[Outcome]:
    """Every loop, run; one gateway after the other over the same log. With `hold` each answer waits so many seconds."""
    if hold is not None:
        enact(database, folder / "home", hold)
    for checkpoint, clients in STAGES:
        chosen = [loop for brought in clients for loop in brought(cache) if only in loop.name]
        if chosen:
            place = checkpoint(folder / checkpoint.__name__)
            with serve(database, folder / "home", place) as served, _people(served, hold):
                for loop in chosen:
                    console.print(f"{loop.name} {loop.version} ...", end=" ")
                    outcome = _run(loop, served, folder / loop.name.replace(" ", "-"))
                    console.print("finished" if outcome.finished else f"[red]not finished[/]: {outcome.why}")
                    yield outcome


def _people(served: Served, hold: int | None) -> AbstractContextManager[None]:
    return nullcontext() if hold is None else approving(served, hold)


def _run(loop: Loop, served: Served, folder: Path) -> Outcome:
    with recording(served.url) as recorder:
        place = Place(folder / "work", folder / "home", recorder.url, served.key, served.model)
        place.folder.mkdir(parents=True)
        place.home.mkdir()
        try:
            why = loop.run(place)
        except (openai.APIError, anthropic.APIError) as error:
            why = str(error)
    return Outcome(loop, served, why or ("" if place.written else "the file was not written"), recorder.exchanges)


def verified(served: Served, out: Path) -> str:
    """Nothing, if the offline verifier takes the whole log; else its words."""
    made = served.export(out)
    command = [sys.executable, "-m", "audit", "verify", str(made.folder), "--vkey", made.vkey, "--origin", made.origin]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where homes, files and output of the clients lie; not for long, unless it is named."""
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="palimpsest-clients-") as folder:
        yield Path(folder)


def main() -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description="real clients against a real gateway")
    parser.add_argument("--only", default="", metavar="NAME", help="loops whose name holds this")
    parser.add_argument("--hold", type=int, metavar="SECONDS", help="hold every answer and approve it after so many seconds")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where clients are installed")
    parser.add_argument("--keep", type=Path, help="a new folder that keeps what the clients wrote and said")
    parser.add_argument("--json", type=Path, help="write the table there as well")
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)
    with _folder(given.keep) as folder, fresh_database(folder / "postgres", console) as database:
        try:
            told = list(outcomes(database, folder.resolve(), given.cache.resolve(), given.only, given.hold, console))
        except CannotInstall as error:
            console.print(f"[red]{error}[/]", highlight=False)
            return 1
        if not told:
            console.print(f"[red]no loop is called {given.only!r}[/]")
            return 1
        wrong = verified(told[-1].served, folder / "export")
        rows = document(told, wrong)
    console.print(table(rows))
    for row in rows["rows"]:
        for fault in row["faults"]:
            console.print(f"[red]{row['client']}[/]: {fault}", highlight=False)
    console.print(f"audit verified offline: {not wrong}" + (f"\n{wrong}" if wrong else ""), highlight=False, markup=False)
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0 if rows["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
