"""Streams of block records that no model made: what the log alone can take.

Each stream appends one record, waits until it is durable, and appends the next, as a generation does. A record is a diffusion
block of 32 tokens with every proposal of 8 denoising steps, its ids drawn as words are (Zipf); at each step a tenth of the
proposals that are still open change, many times what the tiny checkpoint's do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray

from audit.records import BlockTrace
from audit.trace import Step, encode_steps
from audit.writer import Entry, Writer

WIDTH: Final = 32
STEPS: Final = 8
REVISED: Final = 0.1
_VARIETY = 64
_VOCABULARY = 131_072


@dataclass(frozen=True, slots=True)
class Flow:
    """What the streams did: records, wall seconds, and how many seconds each record waited to be durable."""

    records: int
    seconds: float
    waits: Sequence[float]

    @property
    def rate(self) -> float:
        """Durable records per second."""
        return self.records / self.seconds

    def wait(self, share: float) -> float:
        """The wait in seconds that `share` of the records did not exceed."""
        return float(np.quantile(np.array(self.waits), share))


async def flow(writer: Writer, tenant: str, streams: int, seconds: float) -> Flow:
    """Run `streams` streams for so many seconds. Raises what `Writer.append` raises."""
    blocks = sample_blocks()
    waits: list[float] = []
    started = perf_counter()

    async def stream(number: int) -> None:
        request: UUID = uuid4()
        for index in range(1 << 40):
            before = perf_counter()
            if before - started >= seconds:
                return
            block = blocks[(number + index) % len(blocks)]
            await writer.append([Entry(tenant, request, "bench", None, block)])
            waits.append(perf_counter() - before)

    async with asyncio.TaskGroup() as group:
        for number in range(streams):
            group.create_task(stream(number))
    return Flow(len(waits), perf_counter() - started, waits)


def sample_blocks() -> tuple[BlockTrace, ...]:
    """Different blocks of one shape, the same in every run."""
    random = np.random.default_rng(7)
    return tuple(_block(random, index) for index in range(_VARIETY))


def _block(random: np.random.Generator, index: int) -> BlockTrace:
    masked, proposal = np.ones(WIDTH, dtype=np.bool_), _words(random)
    steps = []
    for step in range(STEPS):
        confidence = np.where(masked, random.random(WIDTH), 0.0)
        left = np.flatnonzero(masked)
        chosen = left if step == STEPS - 1 else left[: WIDTH // STEPS]
        committed = np.isin(np.arange(WIDTH), chosen)
        steps.append(
            Step(tuple(masked.tolist()), tuple(proposal.tolist()), tuple(confidence.tolist()), tuple(committed.tolist()))
        )
        masked &= ~committed
        proposal = np.where(masked & (random.random(WIDTH) < REVISED), _words(random), proposal)
    figures: tuple[float, ...] = tuple(random.random(WIDTH, dtype=np.float32).tolist())
    return BlockTrace(
        index=index,
        start=index * WIDTH,
        seeded=False,
        steps=encode_steps(steps),
        tokens=tuple(proposal.tolist()),
        commit_confidence=figures,
        verifier_logprob=tuple(-figure for figure in figures),
        agreement=(True,) * WIDTH,
        emitted=WIDTH,
        forwards=STEPS + 1,
        complete=True,
    )


def _words(random: np.random.Generator) -> NDArray[np.int64]:
    found: NDArray[np.int64] = random.zipf(1.2, WIDTH) % _VOCABULARY
    return found
