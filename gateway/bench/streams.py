"""Streams of block records that no model made: what the log alone can take.

Each stream appends one record, waits until it is durable, and appends the next, as a generation does. A record is a diffusion
block of 32 tokens with every proposal of 8 denoising steps, its ids drawn as words are (Zipf); at each step a tenth of the
proposals that are still open change, many times what the tiny checkpoint's do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from struct import pack, unpack
from time import perf_counter
from typing import Final
from uuid import UUID, uuid4

from audit.records import BlockTrace
from audit.trace import Step, encode_steps
from audit.writer import Entry, Writer
from gateway.bench.lanes import together

WIDTH: Final = 32
STEPS: Final = 8
REVISED: Final = 0.1
_VARIETY = 64
_VOCABULARY = 131_072
_SKEW = 0.2


@dataclass(frozen=True, slots=True)
class Flow:
    """What the streams did: wall seconds, and how many seconds each record waited to be durable."""

    seconds: float
    waits: Sequence[float]

    @property
    def records(self) -> int:
        """Records that became durable."""
        return len(self.waits)

    @property
    def rate(self) -> float:
        """Durable records per second."""
        return self.records / self.seconds


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

    async with together() as group:
        for number in range(streams):
            group.create_task(stream(number))
    return Flow(perf_counter() - started, waits)


def sample_blocks() -> tuple[BlockTrace, ...]:
    """Different blocks of one shape, the same in every run."""
    random = Random(7)  # noqa: S311 - sample data, no secret
    return tuple(_block(random, index) for index in range(_VARIETY))


def _block(random: Random, index: int) -> BlockTrace:
    masked, proposal = [True] * WIDTH, [_word(random) for _ in range(WIDTH)]
    steps, settled = [], [0.0] * WIDTH
    for step in range(STEPS):
        confidence = tuple(_float32(random.random()) if open_ else 0.0 for open_ in masked)
        due = WIDTH if step == STEPS - 1 else (step + 1) * WIDTH // STEPS
        committed = tuple(open_ and place < due for place, open_ in enumerate(masked))
        steps.append(Step(tuple(masked), tuple(proposal), confidence, committed))
        settled = [new if done else old for new, old, done in zip(confidence, settled, committed, strict=True)]
        masked = [open_ and not done for open_, done in zip(masked, committed, strict=True)]
        proposal = [
            _word(random) if open_ and random.random() < REVISED else token
            for open_, token in zip(masked, proposal, strict=True)
        ]
    return BlockTrace(
        index=index,
        start=index * WIDTH,
        seeded=False,
        steps=encode_steps(steps, settled),
        tokens=tuple(proposal),
        commit_confidence=tuple(settled),
        verifier_logprob=tuple(-_float32(random.random()) for _ in range(WIDTH)),
        agreement=(True,) * WIDTH,
        emitted=WIDTH,
        forwards=STEPS + 1,
        complete=True,
    )


def _float32(value: float) -> float:
    """As records have it."""
    (rounded,) = unpack("f", pack("f", value))
    return float(rounded)


def _word(random: Random) -> int:
    return int(random.paretovariate(_SKEW)) % _VOCABULARY
