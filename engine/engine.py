"""The engine: one model, one numeric policy, any number of generations in one batch, one owner thread.

`submit`, `abort`, `pause` and `resume` may be called from any thread; `step` and `wait` belong to the owner. Events leave only
as the result of `step`. A failure inside one generation ends that generation with a fault and touches no other. The engine
knows neither clients nor storage: when the caller cannot take more events it pauses the engine, or just stops calling.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from uuid import UUID

import torch

from engine.apart import apart
from engine.busy import charged
from engine.cache import KVCache
from engine.chain import Link, delivered
from engine.constrain import Constrainer, Matcher
from engine.errors import Busy, ConstraintBroken, InvalidRequest, NumericFault
from engine.events import Admitted, Event, FinishReason, NoteKind
from engine.figures import Figures
from engine.forward import Forward
from engine.memory import fitted
from engine.model.checkpoint import LoadedModel
from engine.modes import decode
from engine.numeric import Arithmetic, arithmetic, dtype_name, numeric_fingerprint
from engine.pages import PagePool, prefix_salt
from engine.request import GenerationRequest, Numeric
from engine.rules import RowRules
from engine.sampling import Picks
from engine.scheduler import Capacity, Live, Scheduler, Turn
from engine.session import Session
from engine.stops import Stops
from engine.tokenizer import THINK_END, THINK_START


@dataclass(frozen=True, slots=True, eq=False)
class _Arrival:
    """A request in the line, with its constraint compiled, so that the owner's thread never has to."""

    request: GenerationRequest
    matcher: Matcher | None


class Engine:
    """Runs all its generations together, one pass of the network per `step`."""

    def __init__(
        self, model: LoadedModel, numeric: Numeric | Arithmetic = Numeric.STRICT, capacity: Capacity | None = None
    ) -> None:
        """`numeric` is a policy's name, or the policy itself (say, `fast` in float32). On a device the pages are all that fit.

        `longest` is then how many positions prompt and answer may take together. Raises DoesNotFit for a device without room.
        """
        self._arithmetic = arithmetic(numeric, model.device) if isinstance(numeric, Numeric) else numeric
        self.numeric, self.dtype = self._arithmetic.numeric, dtype_name(self._arithmetic.dtype)
        self._forward: Forward = apart(lambda: self._arithmetic.prepare(model.network))
        self._model = model
        self._capacity = fitted(model.config, self._arithmetic.dtype, self._arithmetic.device, capacity or Capacity())
        self.kernels = self._forward.kernels
        self.fingerprint = numeric_fingerprint(self._arithmetic, self.kernels)
        self.longest = min(model.config.max_position_embeddings, self._capacity.positions)
        self.constrainer = Constrainer(model.tokenizer, model.config.vocab_size, model.config.eos_token_id)
        self._pool = PagePool(model.config, self._capacity.pages, self._arithmetic.dtype, self._arithmetic.device)
        self._scheduler = Scheduler(self._pool, self._capacity)
        self._think = (model.tokenizer.id_of(THINK_START), model.tokenizer.id_of(THINK_END))
        self._arrivals = count()
        self._changed = threading.Condition()
        self._waiting: deque[_Arrival] = deque()
        self._aborts: set[UUID] = set()
        self._known: set[UUID] = set()
        self._paused = False
        self._ended: list[Live] = []
        self._totals = Figures()

    # -- any thread -----------------------------------------------------------------------------------------------------

    def submit(self, request: GenerationRequest) -> None:
        """Queue a generation. Raises InvalidRequest when this model can never run it or its id is in use, Busy when full."""
        arrival = _Arrival(request, self._check(request))
        with self._changed:
            if request.id in self._known:
                raise InvalidRequest(f"generation {request.id} is already running: use a fresh id")
            if len(self._waiting) >= self._capacity.waiting:
                raise Busy(f"{len(self._waiting)} generations are waiting already: try again later")
            self._known.add(request.id)
            self._waiting.append(arrival)
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

    @property
    def load(self) -> int:
        """How many generations wait or run."""
        return len(self._known)

    def figures(self) -> Figures:
        """What it has done and what it holds now."""
        pool, (running, preempted) = self._pool, self._scheduler.standing
        return replace(
            self._totals,
            preemptions=self._scheduler.preemptions,
            running=running,
            preempted=preempted,
            waiting=len(self._waiting),
            pages_owned=pool.size - pool.available,
            pages_remembered=pool.remembered,
            pages=pool.size,
        )

    def idle(self) -> bool:
        """Whether nothing is queued or running."""
        return not self._known

    # -- the owner's thread ---------------------------------------------------------------------------------------------

    def wait(self, timeout: float) -> None:
        """Block until `step` has something to do, or for `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._aborts or (self._known and not self._paused), timeout)

    def step(self) -> list[Event]:
        """One pass of the network for as many generations as fit (on a device a few in a row); its events, in order.

        One that finds nothing to do looks whether the page pool is whole, and raises PageFault if it is not.
        """
        events: list[Event] = []
        with torch.inference_mode():
            self._end_aborted(events)
            if not self._paused:
                self._admit(events)
                turns = self._scheduler.turns()
                if turns:
                    self._run(turns)
        self._gather(events)
        if not events and not self._known:
            self._pool.check()
        return events

    def _end_aborted(self, events: list[Event]) -> None:
        with self._changed:
            aborts, self._aborts = self._aborts, set()
            if not aborts:
                return
            early = [arrival for arrival in self._waiting if arrival.request.id in aborts]
            self._waiting = deque(arrival for arrival in self._waiting if arrival.request.id not in aborts)
        for arrival in early:
            self._begin(arrival, events)
        for live in list(self._scheduler):
            if live.id in aborts:
                self._end(live, FinishReason.ABORTED, "the caller ended the generation")

    def _admit(self, events: list[Event]) -> None:
        while self._waiting and self._scheduler.has_room(len(self._waiting[0].request.prompt)):
            with self._changed:
                arrival = self._waiting.popleft()
            self._begin(arrival, events)

    def _begin(self, arrival: _Arrival, events: list[Event]) -> None:
        request, model, config = arrival.request, self._model, self._model.config
        salt = prefix_salt(request.cache_salt, model.weights_digest, self.fingerprint)
        session = Session(
            request,
            KVCache(self._pool, salt),
            RowRules(request, config.vocab_size, self._think),
            Stops(request.stop_ids, request.stop_strings, model.tokenizer.decode_bytes),
            config.mask_token_id,
            lambda: self.load,
            arrival.matcher,
            self._forward.most - 1,
        )
        self._totals.prompt_tokens += len(request.prompt)
        self._totals.cached_tokens += session.cached
        live = Live(session, decode(session), next(self._arrivals))
        events.append(Admitted(request, self.numeric.value, self.fingerprint, self.dtype))
        self._scheduler.begin(live)
        try:
            live.wanted = next(live.passes)
        except Exception as fault:  # noqa: BLE001 - the boundary between one generation and all others
            self._fault(live, fault)

    def _run(self, turns: Sequence[Turn]) -> None:
        """One pass, or a few in a row. If that fails, each generation runs alone, so that only the guilty one ends."""
        links: list[Link] = []
        try:
            with charged(links):
                picks = self._forward(self._chain(turns, links), self._pool)
        except Exception as fault:  # noqa: BLE001 - the boundary between one generation and all others
            if len(turns) == 1:
                self._fault(turns[0].live, fault)
            else:
                for turn in turns:
                    self._run([turn])
            return
        for turn, own in delivered(links, picks):
            self._advance(turn, own)

    def _chain(self, turns: Sequence[Turn], links: list[Link]) -> Iterator[Link]:
        """The pass of `turns`, and those that most likely come next; each is made when asked for, and put into `links`."""
        link: Link | None = Link.of(turns, self._forward.padded)
        while link is not None:
            links.append(link)
            self._totals.passes += 1
            self._totals.rows += link.plan.size
            yield link
            link = link.following(self._forward.padded) if len(links) < self._forward.most else None

    def _advance(self, turn: Turn, picks: Picks | None) -> None:
        """Give one generation its part of the pass. Whatever it raises is its own fault."""
        live = turn.live
        if picks is None:
            live.session.refilled(turn.step)
            return
        live.session.passed()
        try:
            if not math.isfinite(sum(picks.logprob)):
                raise NumericFault("the network gave logits that are not finite: check the checkpoint's weights")
            try:
                live.wanted = live.passes.send(picks)
            except StopIteration:  # the answer has ended by itself; the gate judges what is left, and may break like the mode
                self._close(live, live.session.ended or FinishReason.FAULT)
        except Exception as fault:  # noqa: BLE001 - the boundary between one generation and all others
            self._fault(live, fault)

    def _fault(self, live: Live, fault: Exception) -> None:
        live.session.cache.spoil()
        self._end(live, FinishReason.FAULT, f"{type(fault).__name__}: {fault}")

    def _end(self, live: Live, reason: FinishReason, detail: str) -> None:
        """End early: the mode says its unfinished block or round, then the note, then the closing event."""
        with suppress(Exception):
            live.passes.close()
        live.session.settle()
        live.session.note(NoteKind.ABORTED if reason is FinishReason.ABORTED else NoteKind.FAULT, detail)
        self._close(live, reason)

    def _close(self, live: Live, reason: FinishReason) -> None:
        live.session.finish(reason)
        self._ended.append(live)
        self._scheduler.end(live)

    def _gather(self, events: list[Event]) -> None:
        """Collect what was said, and forget those that ended."""
        for live in (*self._scheduler, *self._ended):
            events += live.session.drain()
        with self._changed:
            for live in self._ended:
                self._known.discard(live.id)
                self._aborts.discard(live.id)
            self._ended.clear()

    # -- what a request may be ------------------------------------------------------------------------------------------

    def _check(self, request: GenerationRequest) -> Matcher | None:
        """Refuse what context, cache or vocabulary cannot hold; the constraint, ready to be followed, if there is one."""
        config = self._model.config
        wanted = len(request.prompt) + request.max_tokens
        if wanted > self.longest:
            raise InvalidRequest(
                f"the prompt's {len(request.prompt)} tokens and max_tokens {request.max_tokens} make {wanted}, "
                f"over the {self.longest} positions that are served (the model's context or the cache): shorten one of them"
            )
        for name, ids in (("prompt", request.prompt), ("stop_ids", request.stop_ids)):
            strays = [token for token in ids if not 0 <= token < config.vocab_size]
            if strays:
                raise InvalidRequest(f"{name} holds token id {strays[0]}, outside the vocabulary of {config.vocab_size}")
        if request.constraint is None:
            return None
        matcher = self.constrainer.matcher(request.constraint)
        try:
            matcher.allowed()
        except ConstraintBroken as error:
            raise InvalidRequest(f"the constraint permits no answer in this vocabulary: {error}") from error
        return matcher
