"""One log over many crashes: a crowd of clients, a kill -9 at a random moment, a restart, and the judge.

The database is killed as a whole, postmaster and sessions, the gateway is one process; by turns one, the other or both (TURNS).
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Any

from audit.verify import Verdict
from gateway.postgres import Server
from tests.faults import judge
from tests.faults.clients import Crowd, Told
from tests.gateway.served import Served, serve
from tests.postgres_fixtures import Database
from tests.waiting import eventually

CLIENTS = 6
STALL_SECONDS = 2
PATIENCE = 90.0
_MOST_DELAY = 2.0


class Victim(StrEnum):
    """What is killed."""

    DATABASE = "database"
    GATEWAY = "gateway"
    BOTH = "both"


TURNS = (Victim.DATABASE, Victim.BOTH, Victim.DATABASE, Victim.GATEWAY)
"""Who dies in which round; the database most often, since a gateway takes longest to come back."""


@dataclass(frozen=True, slots=True)
class Round:
    """One crash: what happened, and what is wrong since (nothing, if the promise holds). Times in seconds."""

    number: int
    victim: Victim
    delay: float
    """From the first text to the kill."""
    away: float
    """How long the database stayed down, beyond its own recovery."""
    answers: int
    complete: int
    refused: int
    characters: int
    records: int
    abandoned: int
    verdict: Verdict
    seconds: float
    wrong: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"victim": self.victim.value, "verdict": self.verdict.name.lower()}


def kill_server(server: Server) -> None:
    """SIGKILL to the postmaster and all its processes, until none of them works any more."""
    while alive := list(workers(server.place.data)):
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def workers(data: Path) -> Iterator[int]:
    """The postmaster, first, and its children: PostgreSQL's processes work in the data directory and nobody else does."""
    for pid in sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        with suppress(OSError):
            if Path(f"/proc/{pid}/cwd").readlink() == data:
                yield pid


class Site:
    """A durable database, a home, and the gateway that serves over them at the moment; made by `open_site`."""

    def __init__(self, database: Database, home: Path, checkpoint: Path) -> None:
        self.database, self.home = database, home
        self.memory = judge.Memory()
        self.told: list[Told] = []
        self._checkpoint = checkpoint
        self._gateway = ExitStack()
        self.served = self._start()

    def fight(self, number: int, seed: int, folder: Path) -> Round:
        """Let a crowd in, kill by turns, restart, and judge; `folder` is new and keeps the evidence."""
        started = time.monotonic()
        random = Random(f"{seed} {number}")
        victim = TURNS[number % len(TURNS)]
        delay, away = random.uniform(0.0, _MOST_DELAY), random.choice((0.0, 1.5 * STALL_SECONDS))
        folder.mkdir(parents=True)
        with Crowd(self.served, CLIENTS, random.getrandbits(32)) as crowd:
            crowd.await_text(PATIENCE)
            time.sleep(delay)
            self._kill(victim, random)
            shutil.copy(self.home / "gateway.log", folder)
            self._restart(victim, away)
        self.told += crowd.told
        abandoned = self.memory.abandoned
        wrong, verdict = self._judge(crowd.told, folder)
        return Round(
            number=number, victim=victim, delay=round(delay, 3), away=away, answers=len(crowd.told),
            complete=sum(told.done for told in crowd.told), refused=crowd.refused,
            characters=sum(len(told.text) for told in crowd.told), records=len(self.memory.leaves),
            abandoned=self.memory.abandoned - abandoned, verdict=verdict,
            seconds=round(time.monotonic() - started, 2), wrong=tuple(wrong),
        )  # fmt: skip

    def close(self) -> None:
        """Stop the gateway, which drains and signs."""
        self._gateway.close()

    def _start(self) -> Served:
        served = serve(self.database, self.home, self._checkpoint, audit_stall_seconds=str(STALL_SECONDS))
        return self._gateway.enter_context(served)

    def _kill(self, victim: Victim, random: Random) -> None:
        blows: list[Callable[[], None]] = []
        if victim is not Victim.GATEWAY:
            blows.append(lambda: kill_server(self.database.server))
        if victim is not Victim.DATABASE:
            blows.append(self.served.process.kill)
        random.shuffle(blows)
        for blow in blows:
            blow()

    def _restart(self, victim: Victim, away: float) -> None:
        """Bring back what was killed; a gateway that lived on must find the way back by itself."""
        if victim is not Victim.GATEWAY:
            time.sleep(away)
            self.database.server.start()
        if victim is Victim.DATABASE:
            eventually(self.served.ready, PATIENCE)
        else:
            self._gateway.close()
            self.served = self._start()

    def _judge(self, told: list[Told], folder: Path) -> tuple[list[str], Verdict]:
        eventually(lambda: not judge.unended(self.served), PATIENCE)
        wrong = list(judge.misheard(self.served, told))
        wrong += judge.disordered(self.served, self.memory)
        report = judge.exported(self.served, folder / "bundle", self.memory)
        return [*wrong, *judge.unproven(report)], report.verdict


@contextmanager
def open_site(database: Database, home: Path, checkpoint: Path) -> Iterator[Site]:
    """A site with its gateway up; on the way out the gateway has stopped."""
    site = Site(database, home, checkpoint)
    try:
        yield site
    finally:
        site.close()
