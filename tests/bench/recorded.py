"""One generation's events as an engine told them step by step, and an engine stand-in that tells them again to whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from engine.engine import Engine
from engine.events import Event, Finished, Output
from engine.model.checkpoint import LoadedModel
from engine.request import GenerationRequest


@dataclass(frozen=True, slots=True)
class Recording:
    """The events of one generation, by the step that told them."""

    steps: Sequence[Sequence[Event]]

    @classmethod
    def of(cls, engine: Engine, request: GenerationRequest) -> Recording:
        """What the engine does for this request, alone."""
        engine.submit(request)
        steps: list[list[Event]] = []
        while not (steps and isinstance(steps[-1][-1], Finished)):
            told = engine.step()
            if told:
                steps.append(told)
        return cls(steps)

    @property
    def finished(self) -> Finished:
        """The last event."""
        last = self.steps[-1][-1]
        assert isinstance(last, Finished)
        return last

    def pieces(self, model: LoadedModel) -> list[str]:
        """The text of each event that adds some, as a server that streams event by event would send it."""
        outputs = [event.output for step in self.steps for event in step if isinstance(event, Output)]
        ids = [[token for token in output if token not in model.tokenizer.special] for output in outputs]
        return [text for text in map(model.tokenizer.decode, ids) if text]


class Replay:
    """Drives like an engine: at each step every running generation tells the events of its next recorded step.

    It computes nothing and waits for nobody, so what a request costs beyond it is the gateway's.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._running: dict[UUID, int] = {}
        self._changed = threading.Condition()

    def submit(self, request: GenerationRequest) -> None:
        """Begin to replay under the request's id."""
        with self._changed:
            self._running[request.id] = 0
            self._changed.notify_all()

    def abort(self, generation: UUID) -> None:
        """Nobody leaves in a benchmark, and a recording ends by itself."""

    def step(self) -> list[Event]:
        """The next recorded step of every generation that runs."""
        with self._changed:
            running = list(self._running.items())
            steps = self._recording.steps
            self._running = {own: place + 1 for own, place in running if place + 1 < len(steps)}
        return [replace(event, generation=own) for own, place in running for event in steps[place]]

    def wait(self, timeout: float) -> None:
        """Block until something runs, or for `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._running, timeout)
