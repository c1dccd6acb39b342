"""The same answers with the whole gateway around the engine, HTTP apart: admission, engine thread, log and release.

Beside it, what that costs in processor time, counted for this process and for the embedded PostgreSQL's; and the same gateway
with a log that keeps nothing, from which the log's own price can be told.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final, Self
from uuid import uuid4

from audit.header import uuid7
from audit.writer import Entry, Range
from engine.request import Mode
from gateway.admission import admit
from gateway.appending import Log
from gateway.approvals.opening import Openings
from gateway.authenticate import Subject
from gateway.bench.errors import BenchError
from gateway.bench.lanes import together
from gateway.dialects.request import AskedSampling, ChatRequest, ComputeKnob, Conversation, Delivery, Dialect, UserTurn
from gateway.generation import Admitted, Generation
from gateway.house import House
from gateway.pieces import Account, Ended, Failed

CALLER: Final = "bench"
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for in each request."""

    mode: Mode
    block: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """All prompts once through the gateway: wall seconds, processor seconds of both processes, and what the answers say."""

    seconds: float
    gateway_cpu: float
    postgres_cpu: float
    accounts: tuple[Account, ...]

    @property
    def tokens(self) -> int:
        """Output tokens, stop ids included."""
        return sum(account.completion_tokens for account in self.accounts)

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds

    def cpu_us_per_block(self, block: int) -> tuple[float, float]:
        """Of gateway and of database, in microseconds per so many tokens of one answer."""
        blocks = sum(-(-account.completion_tokens // block) for account in self.accounts)
        return 1e6 * self.gateway_cpu / blocks, 1e6 * self.postgres_cpu / blocks


class Unkept:
    """Numbers records and keeps none of them. No client is ever served by it: it measures the gateway beside its log."""

    def __init__(self) -> None:
        self._size = 0

    async def append(self, entries: Sequence[Entry], linger: float = 0.0) -> Range:  # noqa: ARG002 - who waits for none
        """The place that they would have had, at once."""
        first, self._size = self._size, self._size + len(entries)
        return Range(first, self._size - 1)

    def hurry(self, linger: float = 0.0) -> None:
        """Nobody waits."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where records go, and how a generation begins that has its own go there."""

    log: Log
    begin: Callable[[Admitted], Generation]

    @classmethod
    def recorded(cls, house: House) -> Self:
        """As clients are served."""
        return cls(house.writer, house.begin)

    @classmethod
    def unrecorded(cls, house: House) -> Self:
        """The same, but nothing is kept."""
        model, log = house.intake.model, Unkept()
        openings = Openings(house.urls.reader, bytes.fromhex(model.weights_digest))

        def begin(admitted: Admitted) -> Generation:
            decode, orphan = model.tokenizer.decode_bytes, house.reconciler.orphan
            return house.follow(Generation(admitted, house.engine, log, decode, orphan, openings))

        return cls(log, begin)


async def ask_all(house: House, way: Way, prompts: Sequence[str], asked: Asked, concurrency: int, cpu: Cpu) -> Recorded:
    """Ask every prompt, at most `concurrency` at once. Raises BenchError when an answer ends in an error."""
    # A tenant of its own, so that no prompt is found in the cache, as in the engine's own run.
    seats, tenant = asyncio.Semaphore(concurrency), f"bench-{uuid4().hex[:12]}"

    async def ask(prompt: str) -> Account:
        async with seats:
            chat = _chat(house.intake.model.name, prompt, asked)
            with house.seats.held():
                admitted = await admit(house.intake, way.log, Subject(tenant, CALLER), chat, uuid7())
            generation = way.begin(admitted)
            async for piece in generation.outlet.pieces():
                if isinstance(piece, Ended):
                    return piece.account
                if isinstance(piece, Failed):
                    raise BenchError(f"an answer ended in an error: {piece.error.message}")
        raise BenchError("an answer ended without an end")

    before, started = cpu.seconds(), perf_counter()
    async with together() as group:
        tasks = [group.create_task(ask(prompt)) for prompt in prompts]
    seconds, after = perf_counter() - started, cpu.seconds()
    return Recorded(seconds, after[0] - before[0], after[1] - before[1], tuple(task.result() for task in tasks))


def _chat(model: str, prompt: str, asked: Asked) -> ChatRequest:
    return ChatRequest(
        dialect=Dialect.CHAT,
        model=model,
        prompt=Conversation((UserTurn(prompt),)),
        prompt_json="[]",
        sampling=AskedSampling(temperature=0.0),
        seed=0,
        max_tokens=asked.max_tokens,
        delivery=Delivery.STREAM,
        knob=ComputeKnob(mode=asked.mode.value, block_length=asked.block),
    )


@dataclass(frozen=True, slots=True)
class Cpu:
    """Reads processor time of what surrounds the engine.

    In this process: of all Python threads but the engine's, so that the network and torch's waiting threads do not count.
    Of PostgreSQL: of the postmaster (None: not ours to see) and its sessions.
    """

    engine_thread: str
    postmaster: int | None

    def seconds(self) -> tuple[float, float]:
        """So far: gateway, database."""
        own = [thread.native_id for thread in threading.enumerate() if thread.name != self.engine_thread]
        gateway = sum(sum(_fields(Path(f"/proc/self/task/{thread}/stat"))[11:13]) for thread in own)
        if self.postmaster is None:
            return gateway / _TICKS, 0.0
        stats = Path("/proc").glob("[0-9]*/stat")
        return gateway / _TICKS, sum(_session_ticks(stat, self.postmaster) for stat in stats) / _TICKS


def _session_ticks(stat: Path, postmaster: int) -> int:
    """Ticks of the postmaster (with its ended sessions) or of one of its sessions; 0 for any other process."""
    fields = _fields(stat)
    if int(stat.parent.name) == postmaster:
        return sum(fields[11:15])
    return sum(fields[11:13]) if fields[1] == postmaster else 0


def _fields(stat: Path) -> list[int]:
    """The numbers of a stat file from the state on (there 0); zeros for a process or thread that has just ended."""
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return [0] * 20
    return [0, *map(int, fields[1:20])]
