"""The engine's thread: every event reaches its own feed, nobody waits for ever, and it never runs far ahead."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from engine.engine import Engine
from engine.errors import InvalidRequest
from engine.events import BlockDecoded, Event, Finished, FinishReason
from engine.request import Constraint, ConstraintKind, GenerationRequest, Mode
from gateway.engine_thread import READ_ALONG, READ_AT_THE_END, EngineDied, EngineThread, Feed, Window
from gateway.errors import EngineDown
from gateway.testimony import TOKENS_PER_RECORD
from tests.engine.harness import MODES, asked, decoded, model, output
from tests.gateway.generating import speaking
from tests.gateway.watched import Watched, started, untaken
from tests.waiting import until

PATIENT = replace(READ_ALONG, seconds=1000.0)
"""A wait that no test can outlast: whoever returns did not wait for it."""
TO_THE_END = replace(READ_AT_THE_END, seconds=1000.0)
AT_ONCE = replace(READ_ALONG, seconds=0.0)


async def followed(feed: Feed) -> list[Event]:
    """All events of a feed up to its last."""
    events: list[Event] = []
    while not events or not isinstance(events[-1], Finished):
        events += await feed.take()
    return events


async def everything(feed: Feed) -> list[Event]:
    """All events of a feed up to the death of the engine."""
    events: list[Event] = []
    while True:
        try:
            events += await feed.take()
        except EngineDied:
            return events


async def test_every_event_reaches_its_own_feed_in_order() -> None:
    """Generations of all modes at once: each feed gives what that generation says when it runs alone."""
    requests = [asked(mode, (1, 5, 9 + index), 20 + index) for index, mode in enumerate([*MODES, *MODES])]
    async with started(Engine(model())) as thread:
        feeds = [await thread.submit(request, AT_ONCE) for request in requests]
        found = await asyncio.gather(*map(followed, feeds))
    assert found == [decoded(model(), request) for request in requests]


async def test_it_stops_stepping_while_the_window_is_full() -> None:
    """No step begins while `capacity` events are untaken; when they are taken it goes on, and nothing is lost."""
    capacity, waiting, watched = 6, list[int](), Watched()
    request = asked(Mode.LINEAR_SPEC, tokens=40, block=2)
    async with started(watched, capacity) as thread:
        watched.before_step = lambda: waiting.append(untaken(thread))
        feed, events, fillings = await thread.submit(request, AT_ONCE), list[Event](), 0
        while not events or not isinstance(events[-1], Finished):
            await until(lambda: untaken(thread) >= capacity or watched.engine.idle())
            fillings += untaken(thread) >= capacity
            events += await feed.take()
    assert events == decoded(model(), request)
    assert fillings > 2 and max(waiting) < capacity


async def test_unfollow_frees_the_window() -> None:
    """Events of a generation that nobody follows any more, come or to come, hold up no other."""
    stalled, other = asked(Mode.AR, tokens=400), asked(Mode.DIFFUSION, tokens=60, block=4)
    engine = Engine(model())
    async with started(engine, capacity=6) as thread:
        await thread.submit(stalled, AT_ONCE)
        await until(lambda: untaken(thread) >= 6)
        feed = await thread.submit(other, AT_ONCE)
        thread.unfollow(stalled.id)
        thread.unfollow(stalled.id)
        assert await followed(feed) == decoded(model(), other)
        await until(lambda: engine.idle() and untaken(thread) == 0)


async def test_it_counts_whom_somebody_follows() -> None:
    """A generation is followed from its submission until somebody says otherwise, whether or not it has ended."""
    async with started(Engine(model())) as thread:
        first, second = asked(Mode.AR), asked(Mode.AR)
        for request in (first, second):
            await followed(await thread.submit(request, AT_ONCE))
        assert thread.followed == 2
        thread.unfollow(first.id)
        thread.unfollow(first.id)
        assert thread.followed == 1


async def test_the_last_events_and_too_many_are_in_a_hurry() -> None:
    """Whoever waits for the log instead of events hurries it once the last have come or the window fills, and not before."""
    events, window, hurried = decoded(model(), asked(Mode.AR, tokens=8)), Window(2 * 8), list[bool]()
    feed = Feed(window, AT_ONCE, lambda: hurried.append(window.crowded))

    def told(some: list[Event], others: int = 0) -> list[bool]:
        """What is hurried when so many come, and these of ours."""
        window.sent(len(some) + others)
        assert feed.put(some)
        feed.weigh()
        return [hurried.pop() for _ in range(len(hurried))]

    assert told(events[:1]) == []
    assert told(events[-1:]) == [False]
    assert await feed.take() == [events[0], events[-1]]
    assert told(events[1:2], others=8) == [True]
    assert await feed.take() == events[1:2]
    taking = asyncio.create_task(feed.take())
    await asyncio.sleep(0)
    assert told(events[-1:]) == [], "nobody is hurried by events that are waited for"
    assert await taking == events[-1:]


async def test_abort_ends_a_feed_with_its_last_events() -> None:
    """An aborted generation still says its end."""
    async with started(Engine(model()), capacity=6) as thread:
        request = asked(Mode.AR, tokens=400)
        feed = await thread.submit(request, AT_ONCE)
        await until(lambda: untaken(thread) >= 6)
        thread.abort(request.id)
        closing = (await followed(feed))[-1]
    assert isinstance(closing, Finished) and closing.reason is FinishReason.ABORTED


async def test_a_step_that_raises_ends_every_feed() -> None:
    """What was said before still comes, then EngineDied; new requests meet EngineDown."""
    requests, watched = [asked(mode, tokens=60) for mode in MODES], Watched(breaks_at=5)
    watched.engine.pause()
    async with started(watched) as thread:
        feeds = [await thread.submit(request, PATIENT) for request in requests]
        watched.engine.resume()
        found = await asyncio.gather(*map(everything, feeds))
        assert not thread.alive
        with pytest.raises(EngineDown, match="restart the gateway"):
            await thread.submit(asked(Mode.AR), AT_ONCE)
    assert any(found)
    for request, events in zip(requests, found, strict=True):
        assert events == decoded(model(), request)[: len(events)]


async def test_stop_ends_followed_feeds() -> None:
    """stop() ends the thread, also one that waits for room, and whoever follows gets EngineDied."""
    async with started(Engine(model()), capacity=6) as thread:
        feed = await thread.submit(asked(Mode.AR, tokens=400), PATIENT)
        await until(lambda: untaken(thread) >= 6)
        taker = asyncio.create_task(everything(feed))
        await thread.stop()
        assert await taker
        with pytest.raises(EngineDown):
            await thread.submit(asked(Mode.AR), AT_ONCE)


async def test_stop_before_start_does_nothing() -> None:
    """A thread that never ran serves nothing and can be stopped."""
    thread = EngineThread(Engine(model()))
    assert not thread.alive
    with pytest.raises(EngineDown):
        await thread.submit(asked(Mode.AR), AT_ONCE)
    await thread.stop()


async def test_a_refused_request_is_not_followed() -> None:
    """What the engine refuses leaves no feed behind, and the thread serves on."""
    request = asked(Mode.AR)
    async with started(Engine(model())) as thread:
        with pytest.raises(InvalidRequest):
            await thread.submit(asked(Mode.AR, tokens=10**6), AT_ONCE)
        assert thread.alive and thread._feeds == {}
        assert await followed(await thread.submit(request, AT_ONCE)) == decoded(model(), request)


class SlowToTake(Watched):
    """Takes a request only once it is let, if that comes within `patience` seconds, and keeps who brought it."""

    def __init__(self, patience: float) -> None:
        super().__init__(speaking())
        self.let, self.was_let, self.patience = threading.Event(), False, patience
        self.brought_by: threading.Thread | None = None

    def submit(self, request: GenerationRequest) -> None:
        """As the engine that has to compile the constraint anew, which takes a while."""
        self.brought_by = threading.current_thread()
        self.was_let = self.let.wait(self.patience)
        super().submit(request)


async def test_the_loop_runs_on_while_a_constraint_is_compiled() -> None:
    """A constrained request is taken beside the loop, which can do other work until then; what comes of it is the same."""
    request = asked(Mode.AR, constraint=Constraint(ConstraintKind.REGEX, "[a-z]{4}"))
    slow = SlowToTake(patience=20)
    async with started(slow) as thread:
        taking = asyncio.create_task(thread.submit(request, AT_ONCE))
        await until(lambda: slow.brought_by is not None)
        slow.let.set()
        assert await followed(await taking) == decoded(speaking(), request)
    assert slow.was_let


async def test_a_bad_constraint_is_told_to_who_asked() -> None:
    """The engine's refusal comes back from beside the loop, and no feed is left behind."""
    request = asked(Mode.AR, constraint=Constraint(ConstraintKind.REGEX, "(a"))
    async with started(Engine(model())) as thread:
        with pytest.raises(InvalidRequest, match="regex constraint"):
            await thread.submit(request, AT_ONCE)
        assert thread.alive and thread._feeds == {}


async def test_a_plain_request_pays_no_thread() -> None:
    """Without a constraint there is nothing slow to do, and the request is handed over on the loop itself."""
    slow = SlowToTake(patience=0)
    async with started(slow) as thread:
        await followed(await thread.submit(asked(Mode.AR), AT_ONCE))
    assert slow.brought_by is threading.current_thread()


@pytest.mark.parametrize("mode", [Mode.AR, Mode.LINEAR_SPEC])
async def test_take_waits_for_a_record_worth_writing(mode: Mode) -> None:
    """With time to linger each batch holds a record's worth of tokens, but the last; neither more nor the end is waited for."""
    watched, taken = Watched(), threading.Event()

    def hold() -> None:
        if len(output(watched.said)) >= TOKENS_PER_RECORD:
            taken.wait(20)
            taken.set()  # who was waited for so long does not come

    watched.before_step = hold
    async with started(watched) as thread:
        feed, sizes = await thread.submit(asked(mode, tokens=100), PATIENT), list[int]()
        closing: Event | None = None
        while not isinstance(closing, Finished):
            events = await feed.take()
            taken.set()
            sizes.append(len(output(events)))
            closing = events[-1]
    assert len(sizes) > 1 and sum(sizes) == 100 and all(size >= TOKENS_PER_RECORD for size in sizes[:-1])


async def test_a_block_is_taken_at_once() -> None:
    """A diffusion block is a record of its own and never waits for more."""
    async with started(Engine(model()), capacity=3) as thread:
        feed = await thread.submit(asked(Mode.DIFFUSION, tokens=16, block=4), PATIENT)
        events = await followed(feed)
    assert sum(isinstance(event, BlockDecoded) for event in events) == 4


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_read_at_the_end_is_taken_at_once(mode: Mode) -> None:
    """A short answer that leaves as a whole comes in one batch, blocks and all, as soon as it has ended."""
    request = asked(mode, tokens=60)
    async with started(Engine(model())) as thread:
        feed = await thread.submit(request, TO_THE_END)
        assert await feed.take() == decoded(model(), request)


async def test_nobody_lingers_in_a_crowd() -> None:
    """Once half of the window is untaken whoever waits for more takes what there is, so the engine goes on."""
    request, sizes = asked(Mode.AR, tokens=60), list[int]()
    async with started(Engine(model()), capacity=16) as thread:
        feed, closing = await thread.submit(request, TO_THE_END), list[Event]()
        while not closing or not isinstance(closing[-1], Finished):
            closing = await feed.take()
            sizes.append(len(closing))
    assert max(sizes) <= 16 and min(sizes[:-1]) >= 8
