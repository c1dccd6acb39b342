"""One generation in flight: its cache, its sampler, what it has said so far, and the totals over that.

Modes own the order of passes and the meaning of their results; the session owns the bookkeeping that is the same in every
mode. Totals and digest are taken from the events themselves, so they cannot disagree with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from engine.cache import KVCache
from engine.config import ModelConfig
from engine.events import BlockDecoded, Event, Finished, FinishReason, Prefilled, RunDecoded, SpecRound
from engine.request import GenerationRequest
from engine.sampling import Sampler


class Session:
    """Mutable state of one generation, owned by the engine's thread."""

    def __init__(self, request: GenerationRequest, config: ModelConfig) -> None:
        self.request = request
        self.mask_id = config.mask_token_id
        self.cache = KVCache(config)
        self.sampler = Sampler(request.sampling, config.mask_token_id)
        self.output: list[int] = []
        self._events: list[Event] = []
        self._unclaimed = 0
        self._prefilled = False
        self._steps = self._forwards = 0
        self.blocks = self.rounds = 0

    @property
    def position(self) -> int:
        """Absolute position of the next output token."""
        return len(self.request.prompt) + len(self.output)

    def passed(self) -> None:
        """The network ran once for this generation."""
        self._unclaimed += 1

    def claim(self) -> int:
        """Passes since the last claim; each pass is claimed by one event."""
        claimed, self._unclaimed = self._unclaimed, 0
        return claimed

    def clip(self, tokens: Sequence[int]) -> int:
        """How many leading `tokens` may be output: up to the first stop id, inclusive, and the budget."""
        room = self.request.max_tokens - len(self.output)
        for index, token in enumerate(tokens[:room]):
            if token in self.request.stop_ids:
                return index + 1
        return min(len(tokens), room)

    def ending(self, pending: Sequence[int] = ()) -> FinishReason | None:
        """Why the answer ends once `pending` is output, or None when it goes on."""
        last = pending[-1] if pending else self.output[-1] if self.output else None
        if last in self.request.stop_ids:
            return FinishReason.STOP
        if len(self.output) + len(pending) >= self.request.max_tokens:
            return FinishReason.LENGTH
        return None

    def emit(self, event: Event) -> None:
        """Say `event`, and add it to output and totals."""
        self._events.append(event)
        if isinstance(event, Prefilled):
            self._prefilled = True
        if isinstance(event, BlockDecoded | SpecRound | RunDecoded):
            self._forwards += event.forwards
            self.output.extend(event.output)
        if isinstance(event, BlockDecoded):
            self.blocks += 1
            self._steps += len(event.steps)
        if isinstance(event, SpecRound):
            self.rounds += 1

    def drain(self) -> list[Event]:
        """Hand over the events said since the last drain."""
        events, self._events = self._events, []
        return events

    @contextmanager
    def interrupted(self, unfinished: Callable[[], BlockDecoded | SpecRound | None]) -> Iterator[None]:
        """If the body is cut short (abort, fault), say what was known of its block or round before going down."""
        try:
            yield
        except BaseException:
            event = unfinished()
            if event is not None:
                self.emit(replace(event, forwards=event.forwards + self.claim(), complete=False))
            raise

    def settle(self) -> None:
        """Say passes after prefill that no event claimed (a fault before a token) as a run without tokens."""
        unclaimed = self.claim()
        if unclaimed and self._prefilled:
            self.emit(RunDecoded(self.request.id, self.position, (), (), unclaimed))

    def finished(self, reason: FinishReason) -> Finished:
        """The closing event, with the totals of all events before it."""
        return Finished(
            generation=self.request.id,
            reason=reason,
            prompt_tokens=len(self.request.prompt),
            tokens=len(self.output),
            blocks=self.blocks,
            steps=self._steps,
            rounds=self.rounds,
            forwards=self._forwards,
            output_digest=hashlib.sha256(b"".join(token.to_bytes(4, "big") for token in self.output)).hexdigest(),
        )
