"""Streams of block records that no model made: what the log alone can take.

Each stream appends one record, waits until it is durable, and appends the next, as a generation does. A record is a diffusion
block of 32 tokens with every proposal of 8 denoising steps, its ids drawn as words are (Zipf).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final
from uuid import UUID, uuid4

import numpy as np

from audit.records import BlockTrace
from audit.trace import Step, encode_steps
from audit.writer import Entry, Writer

WIDTH: Final = 32
STEPS: Final = 8
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
    masked, tokens = np.ones(WIDTH, dtype=np.bool_), np.zeros(WIDTH, dtype=np.int64)
    steps = []
    for step in range(STEPS):
        proposal = np.where(masked, random.zipf(1.2, WIDTH) % _VOCABULARY, tokens)
        confidence = np.where(masked, random.random(WIDTH), 0.0)
        left = np.flatnonzero(masked)
        chosen = left if step == STEPS - 1 else left[: WIDTH // STEPS]
        committed = np.isin(np.arange(WIDTH), chosen)
        steps.append(
            Step(tuple(masked.tolist()), tuple(proposal.tolist()), tuple(confidence.tolist()), tuple(committed.tolist()))
        )
        tokens, masked = np.where(committed, proposal, tokens), masked & ~committed
    figures = tuple(np.float32(random.random(WIDTH)).tolist())
    return BlockTrace(
        index=index,
        start=index * WIDTH,
        seeded=False,
        steps=encode_steps(steps),
        tokens=tuple(tokens.tolist()),
        commit_confidence=figures,
        verifier_logprob=tuple(-figure for figure in figures),
        agreement=(True,) * WIDTH,
        emitted=WIDTH,
        forwards=STEPS + 1,
        complete=True,
    )
