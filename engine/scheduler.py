"""Who runs in the next pass. There is no prefill phase and no decode phase: every generation just wants some rows next.

First come, first served, by whole requests: the line waits while `running` generations run or pages are short. Among the
running, whoever has waited longest for a pass comes first, until the pass has `rows` rows. If pages run out, the youngest gives
its own back and stands at the head of the line; its tokens are kept, and its keys and values are computed again later. The
oldest therefore always advances.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from engine.events import NoteKind
from engine.modes import Passes
from engine.pages import PAGE, PagePool
from engine.plan import Step
from engine.request import MAX_BLOCK
from engine.session import Session
from engine.value import value


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much one engine takes on: pages of cache, generations at once and in line, rows in a pass."""

    pages: int = 4096
    running: int = 64
    waiting: int = 1024
    rows: int = 1024

    @property
    def positions(self) -> int:
        """The longest sequence that the cache can hold, its last block included."""
        return self.pages * PAGE - MAX_BLOCK


@dataclass(slots=True, eq=False)
class Live:
    """A generation between two of its passes: it waits for the picks of `wanted`. `order` counts arrivals."""

    session: Session
    passes: Passes
    order: int
    wanted: Step = field(init=False)

    @property
    def id(self) -> UUID:
        """The generation's id."""
        return self.session.request.id

    def next(self) -> Step:
        """The step that it needs next: the mode's own once the cache is filled, and till then one that wants no logits."""
        return self.session.refill() or self.wanted


@value
class Turn:
    """One generation's part of a pass (an `engine.plan.Placed`); `filled` positions are in its cache when it runs."""

    live: Live
    step: Step
    filled: int

    @property
    def pages(self) -> Sequence[int]:
        """The cache's page table."""
        return self.live.session.cache.pages


class Scheduler:
    """The running and the preempted generations of one engine; owned by its thread."""

    def __init__(self, pool: PagePool, capacity: Capacity) -> None:
        self._pool, self._capacity = pool, capacity
        self._running: dict[int, Live] = {}  # by order of arrival; whoever waited longest for a pass comes first
        self._preempted: deque[Live] = deque()
        self.preemptions = 0
        """How often somebody gave its pages back, so far."""

    def __iter__(self) -> Iterator[Live]:
        """All generations that have begun."""
        yield from (*self._running.values(), *self._preempted)

    @property
    def standing(self) -> tuple[int, int]:
        """How many run, and how many were preempted and wait; from any thread."""
        return len(self._running), len(self._preempted)

    def has_room(self, prompt_tokens: int) -> bool:
        """Whether a newcomer may begin now, behind those that were preempted."""
        return not self._preempted and self._fits(prompt_tokens)

    def _fits(self, tokens: int) -> bool:
        """Whether one more generation, of so many tokens, may run beside those that do; alone any may."""
        if len(self._running) >= self._capacity.running:
            return False
        return not self._running or self._spare() >= _pages(tokens)

    def _spare(self) -> int:
        """Pages that none of the running will need for the tokens it already knows, however little of them is cached yet."""
        lacking = (_pages(len(live.session.tokens)) - len(live.session.cache.pages) for live in self._running.values())
        return self._pool.available - sum(max(0, pages) for pages in lacking)

    def begin(self, live: Live) -> None:
        """A newcomer runs from now on."""
        self._running[live.order] = live

    def end(self, live: Live) -> None:
        """It is over: its pages are free for others."""
        self._running.pop(live.order, None)
        if live in self._preempted:
            self._preempted.remove(live)
        live.session.cache.drop()

    def turns(self) -> list[Turn]:
        """The next pass. Those that take part go to the end of the queue."""
        self._readmit()
        turns: dict[int, Turn] = {}
        rows = self._capacity.rows
        for live in list(self._running.values()):
            if live.order not in self._running:
                continue
            step = live.next()
            if turns and step.frame.size > rows:
                continue
            if self._reserve(live, step, turns):
                turns[live.order] = Turn(live, step, live.session.cache.filled)
                rows -= step.frame.size
        if len(turns) < len(self._running):
            for order in turns:
                self._running[order] = self._running.pop(order)
        return list(turns.values())

    def _readmit(self) -> None:
        """Those that were preempted run again as soon as their pages can be had."""
        while self._preempted and self._fits(self._preempted[0].session.committed):
            live = self._preempted.popleft()
            self._running[live.order] = live
            live.session.resume()

    def _reserve(self, live: Live, step: Step, turns: dict[int, Turn]) -> bool:
        """Get the pages for a step, from the youngest if need be; False when that is the generation itself."""
        cache = live.session.cache
        while not cache.reserve(cache.filled + step.frame.clean):
            youngest = max(self._running.values(), key=lambda other: other.order)
            turns.pop(youngest.order, None)
            self._preempt(youngest)
            if youngest is live:
                return False
        return True

    def _preempt(self, live: Live) -> None:
        del self._running[live.order]
        self.preemptions += 1
        live.session.note(NoteKind.PREEMPTED, f"pages ran out: {live.session.cache.filled} positions are given up")
        live.session.cache.drop()
        place = next((place for place, other in enumerate(self._preempted) if other.order > live.order), len(self._preempted))
        self._preempted.insert(place, live)


def _pages(tokens: int) -> int:
    """Pages for so many positions and a block more."""
    return -(-(tokens + MAX_BLOCK) // PAGE)
