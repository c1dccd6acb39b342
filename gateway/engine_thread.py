"""The engine's own thread, and the way from it to each generation's task.

One thread owns `engine.step()` and puts its events into the feed of their generation, whose taker it wakes through
`loop.call_soon_threadsafe`. At most `capacity` events may be on their way and untaken; then the thread stops stepping until
some are taken, so a stalled log stalls the scheduler and memory stays bounded. If a step raises, all feeds end with
`EngineDied`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

import structlog

from engine.events import BlockDecoded, Event, Finished
from engine.request import GenerationRequest
from gateway.compiling import beside_the_loop
from gateway.errors import EngineDown
from gateway.testimony import TOKENS_PER_RECORD, output_of

CAPACITY: Final = 4096
IDLE_SECONDS: Final = 0.2
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long events wait for more of their generation: `seconds` at most, less once there are `tokens` or one of `ready`."""

    seconds: float
    tokens: int
    ready: tuple[type[Event], ...]


READ_ALONG: Final = Patience(0.025, TOKENS_PER_RECORD, (Finished, BlockDecoded))
"""For an answer that is read while it is made: whatever fills a record goes into the log."""
READ_AT_THE_END: Final = Patience(0.25, 8 * TOKENS_PER_RECORD, (Finished,))
"""For one that leaves as a whole: a short answer takes one commit, a long one is in the log soon enough for who watches it."""


class EngineDied(Exception):
    """The engine thread has ended; no more events will come for anyone."""


class Stepper(Protocol):
    """What the thread drives: `engine.engine.Engine`."""

    def submit(self, request: GenerationRequest) -> None: ...
    def abort(self, generation: UUID) -> None: ...
    def step(self) -> list[Event]: ...
    def wait(self, timeout: float) -> None: ...


class Window:
    """Counts events that were sent and not yet taken; the engine thread waits while it is full."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._untaken = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def crowded(self) -> bool:
        """Whether half of what may be untaken is: nobody should linger then."""
        return 2 * self._untaken >= self._capacity

    def wait_for_room(self) -> None:
        """Block until less than `capacity` events are untaken, or the window is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._untaken < self._capacity or self._closed)

    def sent(self, events: int) -> None:
        """Events left the engine."""
        with self._changed:
            self._untaken += events

    def taken(self, events: int) -> None:
        """Events were taken, or dropped because nobody follows them."""
        with self._changed:
            self._untaken -= events
            self._changed.notify_all()

    def close(self) -> None:
        """Let a waiting thread go, for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Feed:
    """The events of one generation, in order: put in by the engine's thread, taken on the event loop.

    The loop hears of the first, which may have to wait for more, and of what is worth a commit; not of every step.
    """

    def __init__(self, window: Window, patience: Patience, hurry: Callable[[], None]) -> None:
        self._window, self._patience, self._hurry = window, patience, hurry
        self._lock = threading.Lock()
        """Of the next four, which two threads change."""
        self._events: list[Event] = []
        self._tokens = 0
        self._enough = False
        """Whether what there is is worth a commit by itself."""
        self._dropped = False
        self._taker: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._died = False

    def put(self, events: list[Event]) -> bool:
        """Called by the engine's thread; whether the loop is to `weigh` it."""
        with self._lock:
            if self._dropped:
                self._window.taken(len(events))
                return False
            known, before = bool(self._events) and not self._window.crowded, self._enough
            self._events += events
            self._tokens += sum(len(output_of(event)) for event in events)
            ready = any(isinstance(event, self._patience.ready) for event in events)
            self._enough = before or ready or self._tokens >= self._patience.tokens
            return not known or self._enough is not before or isinstance(events[-1], Finished)

    def weigh(self) -> None:
        """Tell whoever waits that there is enough, or let the time run in which there may be.

        Who does not wait may be waiting for the log, which is to hurry if these are the last events, or too many.
        """
        if not self._events:
            return
        if self._taker is None:
            if self._window.crowded or isinstance(self._events[-1], Finished):
                self._hurry()
        elif self._enough or self._window.crowded:
            self._wake()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._patience.seconds, self._wake)

    def die(self) -> None:
        """Called on the loop when the engine thread has ended."""
        self._died = True
        self._wake()

    async def take(self) -> list[Event]:
        """All events there are, at least one; waits for more while they would not be worth a commit.

        Raises EngineDied when no event is left and none can come.
        """
        if not self._died:
            await self._until_worth_writing()
        with self._lock:
            events, self._events, self._tokens, self._enough = self._events, [], 0, False
        if not events:
            raise EngineDied
        self._window.taken(len(events))
        return events

    async def _until_worth_writing(self) -> None:
        """Return when waiting would gain nothing, or hold up the engine."""
        self._taker = asyncio.get_running_loop().create_future()
        try:
            self.weigh()
            await self._taker
        finally:
            self._taker = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _wake(self) -> None:
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)

    def drop(self) -> None:
        """Forget what was not taken and what comes; the window must not wait for it."""
        with self._lock:
            self._dropped, events, self._events = True, self._events, []
        self._window.taken(len(events))


class EngineThread:
    """Runs an engine; all methods but the thread's own are called on the event loop."""

    def __init__(self, engine: Stepper, capacity: int = CAPACITY) -> None:
        self._engine = engine
        self._window = Window(capacity)
        self._feeds: dict[UUID, Feed] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._died = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether new requests can be served."""
        return self._loop is not None and not self._died and not self._stopping.is_set()

    @property
    def followed(self) -> int:
        """How many generations somebody follows, to the last of their records."""
        return len(self._feeds)

    def start(self) -> None:
        """Start stepping; events go to the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """End after the current step; generations still followed get EngineDied."""
        self._stopping.set()
        self._window.close()
        if self._loop is not None:
            await asyncio.to_thread(self._thread.join)

    async def submit(self, request: GenerationRequest, patience: Patience, hurry: Callable[[], None] = lambda: None) -> Feed:
        """Queue a generation and follow it with that patience; `hurry` is called when its events should wait for nothing.

        Raises EngineDown, or the engine's InvalidRequest or Busy.
        """
        if not self.alive:
            raise EngineDown("the engine has stopped; try again later or ask the operator to restart the gateway")
        feed = Feed(self._window, patience, hurry)
        self._feeds[request.id] = feed
        try:
            if request.constraint is None:
                self._engine.submit(request)
            else:  # the engine may have forgotten it, and then compiles it anew
                await beside_the_loop(self._engine.submit, request)
        except BaseException:
            self.unfollow(request.id)
            raise
        return feed

    def abort(self, generation: UUID) -> None:
        """Ask the engine to end a generation; its last events still come."""
        self._engine.abort(generation)

    def unfollow(self, generation: UUID) -> None:
        """No longer wanted: untaken and later events are dropped."""
        feed = self._feeds.pop(generation, None)
        if feed is not None:
            feed.drop()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._window.wait_for_room()
                events = self._engine.step()
                if events:
                    self._send(events)
                else:
                    self._engine.wait(IDLE_SECONDS)
        except Exception:  # noqa: BLE001 - the thread's last word; whatever it was, nobody may be left waiting
            _log.exception("engine.died")
        finally:
            self._died = True
            self._on_loop(self._bury)

    def _send(self, events: list[Event]) -> None:
        """Each generation's events into its feed; the loop hears of those that it has to weigh."""
        self._window.sent(len(events))
        by_generation: dict[UUID, list[Event]] = {}
        for event in events:
            by_generation.setdefault(event.generation, []).append(event)
        due = []
        for generation, own in by_generation.items():
            feed = self._feeds.get(generation)
            if feed is None:
                self._window.taken(len(own))
            elif feed.put(own):
                due.append(feed)
        if due:
            self._on_loop(lambda: _weigh_all(due))

    def _on_loop(self, act: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(act)

    def _bury(self) -> None:
        for feed in self._feeds.values():
            feed.die()


def _weigh_all(feeds: list[Feed]) -> None:
    for feed in feeds:
        feed.weigh()
