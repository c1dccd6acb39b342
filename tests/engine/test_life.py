"""The life of an engine at random: whatever comes, goes, gives way or is turned down, no page is lost and no prefix leaks."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.engine import Engine
from engine.errors import Busy
from engine.events import Event, Finished, FinishReason, Prefilled
from engine.gates import BlockFacts, Gate, Ruling, Verdict
from engine.pages import PAGE
from engine.request import GenerationRequest, Mode
from engine.scheduler import Capacity, Live
from tests.engine.harness import asked, decoded, finished, model, output

PROMPTS = ((1, 5, 9), (4,) * 40, tuple(range(70)), (*range(64), 9, 9, 9), tuple(range(99, -1, -1)), tuple(range(97)) * 2)
VERDICTS = (Verdict.ACCEPT, Verdict.REFINE, Verdict.HOLD, Verdict.REDO_AR, Verdict.ACCEPT, Verdict.BLOCK, Verdict.ACCEPT)


def drawn(facts: BlockFacts) -> Ruling:
    """A verdict that looks arbitrary but is a function of the block's place and attempt."""
    return Ruling(VERDICTS[(facts.start + 3 * facts.attempt) % len(VERDICTS)], "drawn", threshold=0.5, steps=4)


@lru_cache(maxsize=256)
def wished(mode: Mode, prompt: int, tokens: int, temperature: float, gated: bool, salt: str) -> GenerationRequest:
    """One of a few hundred requests, always the same for equal arguments."""
    units_are_fixed = mode is not Mode.AUTO
    more: dict[str, Any] = {"gate": Gate(drawn, frozenset(Verdict))} if gated and units_are_fixed else {}
    return asked(mode, PROMPTS[prompt], tokens, temperature=temperature, cache_salt=salt, **more)


@lru_cache(maxsize=256)
def truth(request: GenerationRequest) -> tuple[tuple[int, ...], FinishReason]:
    """What the request answers alone in an engine of its own."""
    events = decoded(model(), request)
    return output(events), finished(events).reason


class Life(RuleBasedStateMachine):
    """An engine with few pages and a short line."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(model(), capacity=Capacity(pages=14, running=4, waiting=3, rows=150))
        self.asked: dict[UUID, GenerationRequest] = {}
        self.told: dict[UUID, list[Event]] = {}
        self.aborted: set[UUID] = set()

    @rule(
        mode=st.sampled_from(Mode),
        prompt=st.integers(0, len(PROMPTS) - 1),
        tokens=st.sampled_from((1, 9, 40, 120)),
        temperature=st.sampled_from((0.0, 0.8)),
        gated=st.booleans(),
        salt=st.sampled_from(("", "tenant")),
    )
    def come(self, **wish: Any) -> None:
        """Somebody comes; a line that is full says so and forgets them."""
        known = wished(**wish)
        request = replace(known, id=UUID(int=len(self.asked) + 1))
        try:
            self.engine.submit(request)
        except Busy:
            assert self.engine.load >= 3
        else:
            self.asked[request.id], self.told[request.id] = known, []

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        """Somebody goes, finished or not."""
        gone = data.draw(st.sampled_from(sorted(self.asked)))
        self.engine.abort(gone)
        self.aborted.add(gone)

    @rule(passes=st.integers(1, 12))
    def work(self, passes: int) -> None:
        """The engine makes some passes."""
        for _ in range(passes):
            self.listen()
            self.pages_are_whole()

    @rule()
    def rest(self) -> None:
        """A pause in which nothing happens but ends that were asked for."""
        self.engine.pause()
        assert self.listen() <= self.aborted
        self.engine.resume()

    def listen(self) -> set[UUID]:
        """One step; whose events it gave."""
        events = self.engine.step()
        for event in events:
            self.told[event.generation].append(event)
        return {event.generation for event in events}

    def lives(self) -> list[Live]:
        """All that have begun and not ended."""
        return list(self.engine._scheduler)

    @invariant()
    def pages_are_whole(self) -> None:
        """Every page has one state, and as many references as tables name it."""
        self.engine._pool.check([live.session.cache.pages for live in self.lives()])

    @invariant()
    def prefixes_are_private(self) -> None:
        """Whoever shares a page belongs to the same tenant, stands at the same place and has the same past."""
        holders: dict[int, tuple[str, int, list[int]]] = {}
        for live in self.lives():
            for place, page in enumerate(live.session.cache.pages):
                past = live.session.tokens[: (place + 1) * PAGE]
                mine = (live.session.request.cache_salt, place, past)
                assert holders.setdefault(page, mine) == mine

    def teardown(self) -> None:
        """Everybody comes to an end, with the answer of an undisturbed run or a beginning of it; every page is free again."""
        while not self.engine.idle():
            self.work(1)
        assert self.engine._pool.available == self.engine._pool.size and not self.lives()
        for generation, events in self.told.items():
            closing, (text, reason) = finished(events), truth(self.asked[generation])
            assert sum(isinstance(event, Finished) for event in events) == 1
            assert output(events) == text[: closing.tokens]
            if closing.reason is not FinishReason.ABORTED:
                assert closing.reason is reason and closing.tokens == len(text)
            assert closing.reason is not FinishReason.ABORTED or generation in self.aborted
            assert sum(isinstance(event, Prefilled) for event in events) <= 1


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=8, stateful_step_count=20, suppress_health_check=list(HealthCheck))
