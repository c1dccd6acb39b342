"""The real engine under observation: it tells before each step, keeps what it said, and may be made to break."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from engine.engine import Engine
from engine.events import Event
from engine.model.checkpoint import LoadedModel
from engine.request import GenerationRequest
from gateway.engine_thread import CAPACITY, EngineThread, Stepper
from tests.engine.harness import model
from tests.gateway.housed import Housed


class Watched:
    """Delegates everything. The step that is the `breaks_at`-th to have events raises in their place."""

    def __init__(self, given: LoadedModel | None = None, breaks_at: int = 0) -> None:
        self.engine = Engine(model() if given is None else given)
        self.before_step: Callable[[], None] = lambda: None
        self.said: list[Event] = []
        self._breaks_at, self._productive = breaks_at, 0

    def submit(self, request: GenerationRequest) -> None:
        """As the engine."""
        self.engine.submit(request)

    def abort(self, generation: UUID) -> None:
        """As the engine."""
        self.engine.abort(generation)

    def wait(self, timeout: float) -> None:
        """As the engine."""
        self.engine.wait(timeout)

    def step(self) -> list[Event]:
        """As the engine, until it breaks."""
        self.before_step()
        events = self.engine.step()
        self._productive += bool(events)
        if events and self._productive == self._breaks_at:
            raise MemoryError("no room for the cache")
        self.said += events
        return events


def unhurried(here: Housed, patch: pytest.MonkeyPatch) -> None:
    """From now on a step takes 0.1 s: an answer of scores of steps is under way for as long as a test looks at it."""
    engine = here.house.engine._engine
    step = engine.step

    def slowly() -> list[Event]:
        time.sleep(0.1)
        return step()

    patch.setattr(engine, "step", slowly)


@asynccontextmanager
async def started(engine: Stepper, capacity: int = CAPACITY) -> AsyncIterator[EngineThread]:
    """A running engine thread, which has ended afterwards."""
    thread = EngineThread(engine, capacity)
    thread.start()
    try:
        yield thread
    finally:
        await thread.stop()
        assert not thread._thread.is_alive()


def untaken(thread: EngineThread) -> int:
    """Events that have left the engine and that nobody has taken."""
    return thread._window._untaken
