"""One generation's events as an engine told them step by step, and an engine stand-in that tells them again to whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from engine.engine import Engine
from engine.events import Admitted, Event, Finished, Output
from engine.model.checkpoint import LoadedModel
from engine.request import GenerationRequest, Mode


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

    def told(self, model: LoadedModel) -> dict[str, Any]:
        """What an upstream needs in order to tell the same answer."""
        end = self.finished
        return {"pieces": self.pieces(model), "prompt_tokens": end.prompt_tokens, "completion_tokens": end.tokens}


class Replay:
    """Drives like an engine: at each step every running generation tells the events of the next step recorded of its mode.

    It computes nothing and waits for nobody, so what a request costs beyond it is the gateway's.
    """

    def __init__(self, recordings: Mapping[Mode, Recording]) -> None:
        self._recordings = recordings
        self._running: dict[UUID, Iterator[Sequence[Event]]] = {}
        self._changed = threading.Condition()

    def submit(self, request: GenerationRequest) -> None:
        """Begin to replay under the request's id."""
        with self._changed:
            self._running[request.id] = iter(self._recordings[request.mode].steps)
            self._changed.notify_all()

    def abort(self, generation: UUID) -> None:
        """Nobody leaves in a benchmark, and a recording ends by itself."""

    def step(self) -> list[Event]:
        """The next recorded step of every generation that runs."""
        with self._changed:
            running = list(self._running.items())
        events = [_renamed(event, own) for own, steps in running for event in next(steps)]
        with self._changed:
            for event in events:
                if isinstance(event, Finished):
                    del self._running[event.generation]
        return events

    def wait(self, timeout: float) -> None:
        """Block until something runs, or for `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._running, timeout)


def _renamed(event: Event, generation: UUID) -> Event:
    """The same event of another generation."""
    if isinstance(event, Admitted):
        return replace(event, request=replace(event.request, id=generation))
    return replace(event, generation=generation)
