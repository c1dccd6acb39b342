"""Every way to decode, side by side in one engine: lanes, runs and answers of `palimpsest bench modes`.

A lane is a mode at a concurrency. All lanes answer the same prompts at temperature 0; the next prompt goes in as soon as an
answer ends. Each lane is warmed up once, then the lanes take turns, repeat by repeat, so that a drifting clock or a neighbour
hits all of them. Every run has cache salts of its own, so that none finds the prompts of the one before in the cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter
from typing import Final
from uuid import UUID, uuid4

from engine.engine import Engine
from engine.events import Event, Finished, FinishReason, Output
from engine.request import CAUSAL_MODES, GenerationRequest, Mode, Sampling
from gateway.bench.errors import BenchError
from gateway.engine_thread import EngineThread, Patience

MIXED: Final = "mixed"
MIXED_MODES: Final = (Mode.AR, Mode.DIFFUSION, Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC)
QUADRATIC_BLOCK: Final = 8
THRESHOLD: Final = 0.9
_AT_ONCE: Final = Patience(0.0, 0, ())

Prompt = tuple[int, ...]


@asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """Tasks that run together; if some fail, the first of their errors is raised by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as several:
        first: BaseException = several
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from several


@dataclass(frozen=True, slots=True)
class Lane:
    """One row of the result: every prompt is asked in each of `modes`, and at most `concurrency` answers are under way."""

    name: str
    modes: tuple[Mode, ...]
    concurrency: int
    block: int


@dataclass(slots=True)
class Answer:
    """One generation as its asker saw it; times in seconds on one clock.

    `first` is when the first output was told, `told_first` how many tokens came with it.
    """

    place: int
    mode: Mode
    asked: float
    first: float = 0.0
    ended: float = 0.0
    told_first: int = 0
    forwards: int = 0
    ids: list[int] = field(default_factory=list)

    def read(self, event: Event, now: float) -> None:
        """Take note of an event. Raises BenchError when the answer ended by anything but its stop or its length."""
        if isinstance(event, Output) and event.output:
            if not self.ids:
                self.first, self.told_first = now, len(event.output)
            self.ids += event.output
        elif isinstance(event, Finished):
            if event.reason not in (FinishReason.STOP, FinishReason.LENGTH):
                raise BenchError(f"prompt {self.place} in {self.mode} ended by {event.reason}: check the checkpoint")
            self.ended, self.forwards = now, event.forwards


@dataclass(frozen=True, slots=True)
class Run:
    """All prompts once through a lane: wall seconds, and the answers in the order in which they were asked for."""

    seconds: float
    answers: tuple[Answer, ...]

    @property
    def tokens(self) -> int:
        """Output tokens, stop ids included."""
        return sum(len(answer.ids) for answer in self.answers)


@dataclass(frozen=True, slots=True)
class Course:
    """What all lanes have in common: the engine, the prompts, how long an answer may be and where it stops."""

    engine: Engine
    prompts: Sequence[Prompt]
    max_tokens: int
    stop: int

    def run(self, lane: Lane) -> Run:
        """Answer every prompt. Raises InvalidRequest when one does not fit the model, BenchError when one fails."""
        requests = iter(self._requests(lane))
        answers: dict[UUID, Answer] = {}
        started, running = perf_counter(), 0
        while True:
            for place, request in islice(requests, lane.concurrency - running):
                self.engine.submit(request)
                answers[request.id] = Answer(place, request.mode, perf_counter())
                running += 1
            if not running:
                return Run(perf_counter() - started, tuple(answers.values()))
            events = self.engine.step()
            now = perf_counter()
            for event in events:
                answers[event.generation].read(event, now)
                running -= isinstance(event, Finished)

    async def run_on(self, thread: EngineThread, lane: Lane) -> Run:
        """The same by the thread of a gateway that steps this engine. Raises what `run` raises."""
        seats, answers = asyncio.Semaphore(lane.concurrency), list[Answer]()

        async def ask(place: int, request: GenerationRequest) -> None:
            async with seats:
                answers.append(answer := Answer(place, request.mode, perf_counter()))
                feed = await thread.submit(request, _AT_ONCE)
                try:
                    while not answer.ended:
                        for event in await feed.take():
                            answer.read(event, perf_counter())
                finally:
                    thread.unfollow(request.id)

        started = perf_counter()
        async with together() as group:
            for place, request in self._requests(lane):
                group.create_task(ask(place, request))
        return Run(perf_counter() - started, tuple(answers))

    def _requests(self, lane: Lane) -> list[tuple[int, GenerationRequest]]:
        """Prompt by prompt; the modes of one prompt stand side by side but find nothing of one another in the cache."""
        salt = uuid4().hex
        return [
            (place, self._request(prompt, mode, block_of(mode, lane.block), f"{salt} {mode}"))
            for place, prompt in enumerate(self.prompts)
            for mode in lane.modes
        ]

    def _request(self, prompt: Prompt, mode: Mode, block: int, salt: str) -> GenerationRequest:
        return GenerationRequest(
            id=uuid4(),
            prompt=prompt,
            mode=mode,
            modes_permitted=frozenset(CAUSAL_MODES if mode is Mode.AUTO else (mode,)),
            max_tokens=self.max_tokens,
            sampling=Sampling(temperature=0.0, seed=0),
            block_length=block,
            threshold=THRESHOLD,
            max_steps=block,
            seed_first=True,
            stop_ids=frozenset({self.stop}),
            cache_salt=salt,
        )


def block_of(mode: Mode, block: int) -> int:
    """The block length that a mode gets when `block` is asked for: quadratic passes have B(B+1) rows, so B stays small."""
    return min(block, QUADRATIC_BLOCK) if mode is Mode.QUADRATIC_SPEC else block


def lanes(names: Sequence[str], concurrencies: Sequence[int], block: int) -> list[Lane]:
    """The rows: each mode at each concurrency, and `mixed` at the highest one alone."""
    found = [
        Lane(name, (Mode(name),), concurrency, block_of(Mode(name), block))
        for concurrency in sorted(set(concurrencies))
        for name in names
        if name != MIXED
    ]
    if MIXED in names:
        found.append(Lane(MIXED, MIXED_MODES, max(concurrencies), block))
    return found


def race(
    course: Course, entered: Sequence[Lane], repeats: int, tell: Callable[[str], None] = lambda what: None
) -> dict[Lane, list[Run]]:
    """Warm every lane up, then let them take turns `repeats` times. `tell` hears of each run before it begins."""
    for lane in entered:
        tell(f"warm-up: {lane.name}, {lane.concurrency} at a time")
        course.run(lane)
    runs: dict[Lane, list[Run]] = {lane: [] for lane in entered}
    for turn in range(repeats):
        for lane in entered:
            tell(f"{turn + 1} of {repeats}: {lane.name}, {lane.concurrency} at a time")
            runs[lane].append(course.run(lane))
    return runs
