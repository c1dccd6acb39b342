"""The engine: one model, any number of generations, one owner thread.

`submit`, `abort`, `pause` and `resume` may be called from any thread; `step` and `wait` belong to the owner. Events leave only
as the result of `step`. A failure inside one generation ends that generation with a fault and touches no other. The engine
knows neither clients nor storage: when the caller cannot take more events it pauses the engine, or just stops calling.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from engine.errors import InvalidRequest
from engine.events import Admitted, Event, FinishReason, Noted, NoteKind
from engine.forward import DTYPE, NUMERIC, numeric_fingerprint, run, settle_threads
from engine.model.checkpoint import LoadedModel
from engine.modes import Passes, decode
from engine.plan import Plan, Step
from engine.request import GenerationRequest
from engine.session import Session


@dataclass(slots=True, eq=False)
class _Live:
    """A generation between two of its passes: it waits for the logits of `wanted`."""

    session: Session
    passes: Passes
    wanted: Step


class Engine:
    """Runs generations round robin, one pass each per `step`."""

    def __init__(self, model: LoadedModel, *, sink_capacity: int = 1024) -> None:
        """`sink_capacity` bounds one `step`: it visits no further generation once it holds that many events."""
        settle_threads()
        self._model, self._sink_capacity = model, sink_capacity
        self.fingerprint = numeric_fingerprint()
        self._changed = threading.Condition()
        self._ingress: deque[GenerationRequest] = deque()
        self._aborts: set[UUID] = set()
        self._known: set[UUID] = set()
        self._paused = False
        self._live: deque[_Live] = deque()

    def submit(self, request: GenerationRequest) -> None:
        """Queue a generation. Raises InvalidRequest when this model can never run it, or its id is in use."""
        self._check(request)
        with self._changed:
            if request.id in self._known:
                raise InvalidRequest(f"generation {request.id} is already running: use a fresh id")
            self._known.add(request.id)
            self._ingress.append(request)
            self._changed.notify_all()

    def abort(self, generation: UUID) -> None:
        """End a generation at the next `step`, whatever it is doing. An id that is not running is ignored."""
        with self._changed:
            if generation in self._known:
                self._aborts.add(generation)
                self._changed.notify_all()

    def pause(self) -> None:
        """Admit and run nothing until `resume`; aborts still happen."""
        with self._changed:
            self._paused = True

    def resume(self) -> None:
        """Go on after `pause`."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def idle(self) -> bool:
        """Whether nothing is queued or running."""
        with self._changed:
            return not self._known

    def wait(self, timeout: float) -> None:
        """Block until `step` has something to do, or for `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._aborts or (self._known and not self._paused), timeout)

    def step(self) -> list[Event]:
        """One pass of each running generation, in turn; the events that came of it, in order."""
        with self._changed:
            aborts, self._aborts = self._aborts, set()
            paused = self._paused
            arrived = [request for request in self._ingress if not paused or request.id in aborts]
            self._ingress = deque(request for request in self._ingress if request not in arrived)
        events: list[Event] = []
        for request in arrived:
            self._admit(request, events)
        for live in [live for live in self._live if live.session.request.id in aborts]:
            self._end(live, FinishReason.ABORTED, "the caller ended the generation", events)
        if not paused:
            self._turn(events)
        return events

    def _turn(self, events: list[Event]) -> None:
        """Run one pass of each generation from the front of the queue, until the sink is full."""
        for _ in range(len(self._live)):
            if len(events) >= self._sink_capacity:
                return
            live = self._live[0]
            self._live.rotate(-1)
            self._advance(live, events)

    def _advance(self, live: _Live, events: list[Event]) -> None:
        """One pass of one generation. Whatever it raises is that generation's fault."""
        try:
            plan = Plan.pack([(live.session.cache.committed, live.wanted)])
            logits = run(self._model.network, plan, [live.session.cache])
            live.session.passed()
            live.wanted = live.passes.send(logits)
        except StopIteration as ended:
            self._close(live, ended.value, events)
        except Exception as fault:  # noqa: BLE001 - the boundary between one generation and all others
            self._end(live, FinishReason.FAULT, f"{type(fault).__name__}: {fault}", events)
        else:
            events.extend(live.session.drain())

    def _admit(self, request: GenerationRequest, events: list[Event]) -> None:
        session = Session(request, self._model.config)
        passes = decode(session)
        self._live.append(_Live(session, passes, next(passes)))
        events.append(self._admitted(request))

    def _end(self, live: _Live, reason: FinishReason, detail: str, events: list[Event]) -> None:
        """End early: the mode says its unfinished block or round, then the note, then the closing event."""
        with suppress(Exception):
            live.passes.close()
        live.session.settle()
        note = NoteKind.ABORTED if reason is FinishReason.ABORTED else NoteKind.FAULT
        live.session.emit(Noted(live.session.request.id, note, detail))
        self._close(live, reason, events)

    def _close(self, live: _Live, reason: FinishReason, events: list[Event]) -> None:
        live.session.emit(live.session.finished(reason))
        events.extend(live.session.drain())
        self._live.remove(live)
        with self._changed:
            self._known.discard(live.session.request.id)
            self._aborts.discard(live.session.request.id)

    def _admitted(self, request: GenerationRequest) -> Admitted:
        return Admitted(
            generation=request.id,
            mode=request.mode,
            block_length=request.block_length,
            threshold=request.threshold,
            max_steps=request.max_steps,
            seed_first=request.seed_first,
            temperature=request.sampling.temperature,
            seed=request.sampling.seed,
            choice=request.sampling.choice,
            prompt_tokens=len(request.prompt),
            max_tokens=request.max_tokens,
            numeric=NUMERIC,
            fingerprint=self.fingerprint,
            dtype=DTYPE,
        )

    def _check(self, request: GenerationRequest) -> None:
        """Refuse what the model's context or vocabulary cannot hold."""
        config = self._model.config
        wanted = len(request.prompt) + request.max_tokens
        if wanted > config.max_position_embeddings:
            raise InvalidRequest(
                f"the prompt's {len(request.prompt)} tokens and max_tokens {request.max_tokens} make {wanted}, "
                f"over the model's context of {config.max_position_embeddings}: shorten one of them"
            )
        for name, ids in (("prompt", request.prompt), ("stop_ids", request.stop_ids)):
            strays = [token for token in ids if not 0 <= token < config.vocab_size]
            if strays:
                raise InvalidRequest(f"{name} holds token id {strays[0]}, outside the vocabulary of {config.vocab_size}")
