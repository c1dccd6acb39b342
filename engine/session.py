"""One generation in flight: its tokens, its cache, what it has said so far, and the totals over that.

Modes own the order of passes and the meaning of their results; the session owns the bookkeeping that is the same in every
mode: what may be output, where the answer ends, what a constraint permits, what the gate thinks of causal text. Totals and
digest are taken from the events themselves, so they cannot disagree with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from engine.cache import KVCache
from engine.constrain import Matcher
from engine.errors import ConstraintBroken
from engine.events import (
    Alternatives,
    BlockDecoded,
    Event,
    Finished,
    FinishReason,
    Gated,
    Noted,
    NoteKind,
    Output,
    Prefilled,
    RunDecoded,
    SpecRound,
    octets,
)
from engine.gates import CAUSAL_UNIT, REFINES_MOST, BlockFacts, Verdict
from engine.plan import Step, Want, clean
from engine.request import GenerationRequest, Mode
from engine.rules import RowRules
from engine.sampling import Ask, Picks, sampling_key
from engine.stops import Stops
from engine.units import unit_facts

PREFILL_CHUNK = 128
"""Prefill passes end at absolute multiples of this."""


class Session:
    """Mutable state of one generation, owned by the engine's thread.

    `committed` positions of `tokens` are decided for good and are in the cache, or can be computed again into it. `ended`
    is why the answer is over, once it is; `busy` are the seconds of the device that its rows took.
    """

    def __init__(
        self,
        request: GenerationRequest,
        cache: KVCache,
        rules: RowRules,
        stops: Stops,
        mask_id: int,
        load: Callable[[], int],
        matcher: Matcher | None = None,
        ahead: int = 0,
    ) -> None:
        """`load` tells how many generations wait or run, for `auto`; `ahead` how many further passes a step should foretell."""
        self.request, self.cache, self.mask_id, self.load = request, cache, mask_id, load
        self.mode = Mode.LINEAR_SPEC if matcher and request.mode is Mode.DIFFUSION else request.mode
        self.tokens, self.prompt_tokens = list(request.prompt), len(request.prompt)
        self.ended: FinishReason | None = None
        self.blocks = self.rounds = self.gated = 0
        self.busy = 0.0
        self.ahead = 0 if matcher else ahead  # a constraint waits for what is picked
        self._rules, self._stops, self._matcher = rules, stops, matcher
        self._key = sampling_key(request.sampling)
        self._asked: Ask | None = None
        self._broken: ConstraintBroken | None = None
        self._events: list[Event] = []
        self._unclaimed = self._steps = self._forwards = 0
        self._prefilled = False
        self._said = 0
        self._unit: list[SpecRound | RunDecoded] = []
        cache.adopt(request.prompt[:-1])
        self.cached = cache.filled
        self.committed = max((len(request.prompt) - 1) // PREFILL_CHUNK * PREFILL_CHUNK, cache.filled)
        rules.commit(self.tokens[: self.committed], 0)

    @property
    def position(self) -> int:
        """Absolute position of the next output token that no event has told."""
        return self.prompt_tokens + self._said

    @property
    def room(self) -> int:
        """How many tokens may still be decided."""
        return self.request.max_tokens - (len(self.tokens) - self.prompt_tokens)

    # -- passes ---------------------------------------------------------------------------------------------------------

    def refill(self) -> Step | None:
        """The rows that bring the cache up to what is committed: prompt, or text whose pages were taken away."""
        start = self.cache.filled
        if start >= self.committed:
            return None
        end = min(self.committed, (start // PREFILL_CHUNK + 1) * PREFILL_CHUNK)
        return clean(self.tokens[start:end], Want.NONE)

    def refilled(self, step: Step) -> None:
        """The pass of a `refill` step ran; it counts while it is the prompt's."""
        self.cache.keep(step.frame.size, self.tokens)
        self._unclaimed += not self._prefilled

    def resume(self) -> None:
        """Go on after the pages were taken away: take up what others still know of them."""
        self.cache.adopt(self.tokens[: self.committed])
        left = self.cache.filled
        self.note(NoteKind.RESUMED, f"{left} of {self.committed} positions were still there, the others are computed again")

    def ask(self, step: Step) -> Ask:
        """What the wanted rows of `step` are subject to; where that is what it was before, the same object."""
        rules, rows = self._rules.of(step, self.cache.filled), len(step.only or step.frame.wanted)
        others = self.mode is Mode.DIFFUSION  # a block's first token is scored by the pick before it
        plain, asked = rules is None and not step.targets, self._asked
        if plain and asked and (asked.rows, asked.others) == (rows, others):
            return asked
        request = self.request
        new = Ask(rows, request.sampling.temperature, self._key, step.targets, request.top_logprobs, rules, others)
        if plain:
            self._asked = new
        return new

    def allowed(self, draft: Sequence[int] = ()) -> NDArray[np.bool_] | None:
        """What the constraint permits after the answer and after each leading part of `draft`, bool [1 + len(draft), V]."""
        return None if self._matcher is None else self._matcher.allowed_along(draft)

    def passed(self) -> None:
        """The network ran once for this generation."""
        self._unclaimed += 1

    def claim(self) -> int:
        """Passes since the last claim; each pass is claimed by one event."""
        claimed, self._unclaimed = self._unclaimed, 0
        return claimed

    # -- what is decided ------------------------------------------------------------------------------------------------

    def cut(self, ids: Sequence[int]) -> tuple[int, FinishReason | None]:
        """How many leading `ids` may be output, and why the answer ends with the last of these, if it does."""
        room = self.room
        stop = self._stops.first(ids[:room])
        if stop is not None:
            return stop + 1, FinishReason.STOP
        return (room, FinishReason.LENGTH) if len(ids) >= room else (len(ids), None)

    def take(self, ids: Sequence[int]) -> int:
        """Decide the next ids of the answer, up to its end; returns how many were taken and sets `ended`.

        Raises ConstraintBroken if the constraint refuses the first; if it refuses a later one, `emit` does, once the ids before
        it are told: so they are of the answer in every mode.
        """
        count, self.ended = self.cut(ids)
        count = self._held(ids[:count])
        taken = ids[:count]
        self.tokens += taken
        self._stops.read(taken)
        return count

    def _held(self, ids: Sequence[int]) -> int:
        """How many leading ids the constraint takes."""
        if self._matcher is None:
            return len(ids)
        for place, token in enumerate(ids):
            try:
                self._matcher.accept((token,))
            except ConstraintBroken as error:
                if not place:
                    raise
                self.ended, self._broken = None, error
                return place
        return len(ids)

    def commit(self, count: int) -> None:
        """The next `count` positions of `tokens` are in the cache for good."""
        start = self.committed
        self.committed += count
        self._rules.commit(self.tokens[start : self.committed], start)
        self.cache.keep(count, self.tokens)

    # -- what is said ---------------------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Say `event`, and let the gate judge causal text that has become a unit.

        Raises ConstraintBroken once it is told what came before an id that the constraint refused.
        """
        self.say(event)
        if self._broken is not None and isinstance(event, Output):
            raise self._broken
        if isinstance(event, SpecRound | RunDecoded) and self.request.gate is not None:
            self._unit.append(event)
            if sum(len(each.output) for each in self._unit) >= CAUSAL_UNIT:
                self.judge_unit()

    def say(self, event: Event) -> None:
        """Say `event` and add it to the totals; the gate is not asked, for what an early end cut short has no whole unit."""
        self._events.append(event)
        self._prefilled |= isinstance(event, Prefilled)
        self.rounds += isinstance(event, SpecRound)
        if isinstance(event, BlockDecoded):
            self.blocks += 1
            self._steps += len(event.steps)
        if isinstance(event, Output):
            self._forwards += event.forwards
            self._said += len(event.output)

    def alternatives(self, picks: Sequence[Picks], rows: int) -> None:
        """Tell the likeliest tokens of the next `rows` output positions, before the event that outputs them."""
        width = self.request.top_logprobs
        if width and rows:
            ids = [row for pick in picks for row in pick.top_ids][:rows]
            values = [row for pick in picks for row in pick.top_logprob][:rows]
            flat_ids, flat_values = tuple(chain.from_iterable(ids)), tuple(chain.from_iterable(values))
            self.emit(Alternatives(self.request.id, self.position, width, flat_ids, flat_values))

    def note(self, kind: NoteKind, detail: str) -> None:
        """Say something that is not a token."""
        self.emit(Noted(self.request.id, kind, detail))

    def drain(self) -> list[Event]:
        """Hand over the events said since the last drain."""
        events, self._events = self._events, []
        return events

    # -- the gate -------------------------------------------------------------------------------------------------------

    def judge(self, tell: Callable[[], BlockFacts]) -> Gated | None:
        """Ask the gate, if there is one; what it rules is said by `ruled`, after the block's own event."""
        gate = self.request.gate
        if gate is None:
            return None
        facts = tell()
        ruling = gate.judge(facts)
        if ruling.verdict not in gate.verdicts:
            raise ValueError(f"the gate ruled {ruling.verdict}, which is not among the verdicts it declared")
        if ruling.verdict is Verdict.REFINE and facts.attempt >= REFINES_MOST:
            ruling = replace(ruling, verdict=Verdict.HOLD, rule=f"{ruling.rule} (refined {REFINES_MOST} times already)")
        figures = facts.figures()
        return Gated(
            generation=self.request.id,
            block=self.gated,
            start=facts.start,
            names=tuple(figures),
            values=tuple(figures.values()),
            verdict=ruling.verdict,
            rule=ruling.rule,
            mode=facts.mode,
            threshold=ruling.threshold,
            steps=ruling.steps,
        )

    def ruled(self, judged: Gated | None) -> None:
        """Say what the gate saw and ruled; `block` ends the answer."""
        if judged is None:
            return
        self.emit(judged)
        self.gated += 1
        if judged.verdict is Verdict.BLOCK:
            self.ended = FinishReason.BLOCKED

    def judge_unit(self) -> None:
        """Ask the gate about the causal text since its last ruling, if there is any: other text comes next, or none."""
        unit, self._unit = self._unit, []
        if any(event.output for event in unit):
            self.ruled(self.judge(lambda: unit_facts(self.gated, unit)))

    # -- the end --------------------------------------------------------------------------------------------------------

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

    def finish(self, reason: FinishReason) -> None:
        """Judge what causal text is left, then say the closing event, with the totals of all events before it."""
        if reason in (FinishReason.STOP, FinishReason.LENGTH):
            self.judge_unit()
            reason = self.ended or reason
        told = self.tokens[self.prompt_tokens : self.position]
        self.emit(
            Finished(
                generation=self.request.id,
                reason=reason,
                prompt_tokens=self.prompt_tokens,
                tokens=len(told),
                blocks=self.blocks,
                steps=self._steps,
                rounds=self.rounds,
                forwards=self._forwards,
                output_digest=hashlib.sha256(octets(told)).hexdigest(),
                busy_us=round(self.busy * 1_000_000),
            )
        )
