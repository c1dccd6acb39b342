"""An engine, or its stand-in, driven by itself in this process: what a gateway's latency is held against."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from uuid import UUID

from engine.events import Finished
from engine.request import GenerationRequest
from gateway.bench.http_load import Load
from gateway.engine_thread import Stepper


def direct(engine: Stepper, request: Callable[[], GenerationRequest]) -> Callable[[int, int], Load]:
    """Asks for so many answers, so many at a time: the next goes in as soon as one ends."""

    def ask(count: int, concurrency: int) -> Load:
        waiting = [request() for _ in range(count)]
        asked: dict[UUID, float] = {}
        latencies: list[float] = []
        started = perf_counter()
        while waiting or asked:
            while waiting and len(asked) < concurrency:
                own = waiting.pop()
                asked[own.id] = perf_counter()
                engine.submit(own)
            ended = [event.generation for event in engine.step() if isinstance(event, Finished)]
            latencies += [perf_counter() - asked.pop(generation) for generation in ended]
        return Load(perf_counter() - started, tuple(latencies))

    return ask
