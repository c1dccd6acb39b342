"""Laws of the scheduler: who comes first, who gives way, and what is refused at the door."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest
import torch

from engine.engine import Engine
from engine.errors import Busy
from engine.events import Admitted, Event, Finished, FinishReason, Noted, NoteKind, Prefilled
from engine.modes import decode
from engine.pages import PagePool
from engine.request import GenerationRequest, Mode
from engine.scheduler import Capacity, Live, Scheduler
from tests.engine.harness import MODES, asked, begun, decoded, finished, model, output


def living(scheduler: Scheduler, pool: PagePool, requests: Sequence[GenerationRequest]) -> list[Live]:
    """Begin the requests, in order, as the engine does."""
    found = []
    for order, request in enumerate(requests):
        session = begun(model(), request, pool)
        passes = decode(session)
        live = Live(session, passes, order)
        live.wanted = next(passes)
        scheduler.begin(live)
        found.append(live)
    return found


def run_all(engine: Engine, requests: Sequence[GenerationRequest]) -> list[list[Event]]:
    """Submit everything, then step to the end; the events of each step."""
    for request in requests:
        engine.submit(request)
    found = []
    while not engine.idle():
        found.append(engine.step())
    return found


def of_kind(steps: Sequence[Sequence[Event]], kind: type[Event]) -> list[UUID]:
    """Whose events of a kind, in order."""
    return [event.generation for events in steps for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("running", [1, 2, 5])
def test_first_come_first_served(running: int) -> None:
    """Generations begin and are prefilled in the order in which they came, never more than `running` at once."""
    requests = [asked(Mode.AR, (1,) * (1 + 40 * (n % 3)), tokens=4) for n in range(7)]
    steps = run_all(Engine(model(), capacity=Capacity(running=running)), requests)
    assert of_kind(steps, Admitted) == of_kind(steps, Prefilled) == [request.id for request in requests]
    alive: set[UUID] = set()
    for events in steps:
        alive |= {event.generation for event in events if isinstance(event, Admitted)}
        assert len(alive) <= running
        alive -= {event.generation for event in events if isinstance(event, Finished)}


def test_a_long_prompt_waits_for_its_pages_and_holds_the_line() -> None:
    """When the head of the line finds too few pages, nobody behind it overtakes."""
    requests = [asked(Mode.AR, (1,) * 100, tokens=20), asked(Mode.AR, (2,) * 100, tokens=5), asked(Mode.AR, (3,), tokens=2)]
    steps = run_all(Engine(model(), capacity=Capacity(pages=8)), requests)
    assert of_kind(steps, Admitted) == [request.id for request in requests]
    assert not any(isinstance(event, Noted) for events in steps for event in events)


@pytest.mark.parametrize("rows", [1, 8, 40, 130])
def test_a_pass_has_at_most_so_many_rows(rows: int) -> None:
    """Only a step that is larger than the budget by itself runs over it, and then it runs alone."""
    pool = PagePool(model().config, 200, torch.float32)
    scheduler = Scheduler(pool, Capacity(rows=rows))
    requests = [asked(Mode.AR, (1,) * length, block=16) for length in (3, 200, 30, 7, 64, 1, 128, 9)]
    living(scheduler, pool, requests)
    for _ in range(6):
        turns = scheduler.turns()
        assert turns and (len(turns) == 1 or sum(turn.step.frame.size for turn in turns) <= rows)


def test_whoever_waited_longest_comes_first() -> None:
    """With rows for two, five generations take turns in a circle."""
    pool = PagePool(model().config, 50, torch.float32)
    scheduler = Scheduler(pool, Capacity(rows=2))
    lives = living(scheduler, pool, [asked(Mode.AR, (n,)) for n in range(5)])
    order = [lives.index(turn.live) for _ in range(5) for turn in scheduler.turns()]
    assert order == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("mode", MODES)
def test_the_youngest_gives_way_and_the_oldest_advances(mode: Mode) -> None:
    """The youngest gives its pages back, the oldest that lost some is first to go on, and all tell what they tell alone."""
    requests = [asked(mode, tuple(range(n, n + 20)), tokens=100, temperature=0.8) for n in range(6)]
    place = {request.id: index for index, request in enumerate(requests)}
    running: set[int] = set()
    lost: set[int] = set()
    preemptions = 0
    steps = run_all(Engine(model(), capacity=Capacity(pages=9)), requests)
    for event in (event for events in steps for event in events if isinstance(event, Noted)):
        preemptions += event.note is NoteKind.PREEMPTED
        assert place[event.generation] > 0
    for events in steps:
        running |= {place[event.generation] for event in events if isinstance(event, Admitted)}
        gone = [place[event.generation] for event in events if _is(event, NoteKind.PREEMPTED)]
        back = {place[event.generation] for event in events if _is(event, NoteKind.RESUMED)}
        assert not back or max(back) < min(lost - back, default=99)
        lost = (lost - back) | set(gone)
        running = (running | back) - set(gone)
        assert not gone or not running or min(gone) > max(running - back, default=-1)
        running -= {place[event.generation] for event in events if isinstance(event, Finished)}
    assert preemptions > 0
    for request in requests:
        own = [event for events in steps for event in events if event.generation == request.id]
        assert output(own) == output(decoded(model(), request))


def _is(event: Event, kind: NoteKind) -> bool:
    return isinstance(event, Noted) and event.note is kind


def test_the_line_is_bounded() -> None:
    """Beyond `waiting` generations in line a newcomer is refused at once, and is welcome when the line has moved."""
    engine = Engine(model(), capacity=Capacity(running=1, waiting=2))
    first, second, third = (asked(Mode.AR, tokens=3) for _ in range(3))
    engine.submit(first)
    engine.submit(second)
    with pytest.raises(Busy, match="2 generations are waiting"):
        engine.submit(third)
    assert engine.load == 2
    engine.step()
    engine.submit(third)
    while not engine.idle():
        engine.step()


def test_abort_while_waiting_and_while_preempted() -> None:
    """A generation ends at the next step also where it has no pages: in line, or with its pages taken away."""
    engine = Engine(model(), capacity=Capacity(pages=7, running=3))
    requests = [asked(Mode.LINEAR_SPEC, tuple(range(n, n + 20)), tokens=90) for n in range(5)]
    for request in requests:
        engine.submit(request)
    seen: list[Event] = []
    while not any(_is(event, NoteKind.PREEMPTED) for event in seen):
        seen += engine.step()
    lost = next(event.generation for event in seen if _is(event, NoteKind.PREEMPTED))
    for gone in (lost, requests[4].id):
        engine.abort(gone)
    ends = [event for event in engine.step() if isinstance(event, Finished)]
    assert {event.generation for event in ends} == {lost, requests[4].id}
    assert {event.reason for event in ends} == {FinishReason.ABORTED}
    while not engine.idle():
        seen += engine.step()
    for request in requests[:4]:
        own = [event for event in seen if event.generation == request.id]
        if request.id != lost:
            assert output(own) == output(decoded(model(), request)) and finished(own).reason is FinishReason.LENGTH


def test_an_engine_knows_what_it_did_and_holds() -> None:
    """Passes, rows, preemptions and shared prefixes add up to what the events say; at the end nobody owns a page."""
    requests = [asked(Mode.AR, tuple(range(n, n + 20)), tokens=100) for n in range(6)]
    engine = Engine(model(), capacity=Capacity(pages=9))
    for request in requests:
        engine.submit(request)
    assert (engine.figures().waiting, engine.figures().passes, engine.figures().pages) == (6, 0, 9)
    steps = [engine.step()]
    begun_with = engine.figures()
    assert begun_with.running + begun_with.preempted + begun_with.waiting == 6 and begun_with.pages_owned > 0
    while not engine.idle():
        steps.append(engine.step())
    given = [event for events in steps for event in events if _is(event, NoteKind.PREEMPTED)]
    figures = engine.figures()
    assert figures.preemptions == len(given) > 0
    assert figures.passes == len(steps) and figures.rows >= 6 * (19 + 100)
    assert (figures.prompt_tokens, figures.running, figures.preempted, figures.waiting) == (120, 0, 0, 0)
    assert figures.pages_owned == 0 and figures.pages_remembered > 0


def test_a_prefix_that_is_found_again_is_counted() -> None:
    """`cached_tokens` are those of `Prefilled.cached`, summed over all generations."""
    engine = Engine(model(), capacity=Capacity(pages=50))
    twice = [run_all(engine, [asked(Mode.AR, (1,) * 100, tokens=2)]) for _ in range(2)]
    cached = [event.cached for steps in twice for events in steps for event in events if isinstance(event, Prefilled)]
    assert engine.figures().cached_tokens == sum(cached) == 96
