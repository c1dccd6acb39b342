"""Laws of the engine's doors: what may be asked of it, when, and from which thread."""

from __future__ import annotations

import threading
from uuid import UUID, uuid4

import pytest

from engine.engine import Engine
from engine.errors import InvalidRequest
from engine.events import Admitted, Finished, FinishReason, Noted, Prefilled
from engine.request import GenerationRequest, Mode
from tests.engine.harness import asked, decoded, drained, finished, model, nameless, stepped


def test_a_long_prompt_is_prefilled_in_chunks() -> None:
    """Prefill passes are counted apart from forwards, and other generations move between them."""
    long, short = asked(Mode.AR, (5,) * 300, tokens=2), asked(Mode.AR, tokens=2)
    engine = Engine(model())
    engine.submit(long)
    engine.submit(short)
    first, second = engine.step(), engine.step()
    assert any(event.generation == short.id and isinstance(event, Finished) for event in (*first, *second))
    rest = drained(engine)
    assert Prefilled(long.id, tokens=300, cached=0, passes=3) in rest
    assert finished(rest).forwards == 1


def test_pause_stops_work_but_not_aborts() -> None:
    """A paused engine admits and runs nothing, still ends what is aborted, and goes on afterwards as if never paused."""
    engine, running, waiting, gone = Engine(model()), asked(Mode.LINEAR_SPEC), asked(Mode.AR), asked(Mode.AR)
    before = stepped(engine, running, 3)
    engine.pause()
    engine.submit(waiting)
    engine.submit(gone)
    assert engine.step() == []
    engine.abort(gone.id)
    assert [type(event) for event in engine.step()] == [Admitted, Noted, Finished]
    engine.wait(0.01)
    assert not engine.idle() and engine.step() == []
    engine.resume()
    after = [event for event in drained(engine) if event.generation == running.id]
    assert nameless([*before, *after]) == nameless(decoded(model(), running))


def test_an_id_is_used_once_at_a_time() -> None:
    """A second request with a running id is refused; after the end the id is free again."""
    engine, request = Engine(model()), asked(Mode.AR, tokens=2)
    engine.submit(request)
    with pytest.raises(InvalidRequest, match="already running"):
        engine.submit(request)
    drained(engine)
    engine.submit(request)
    assert finished(drained(engine)).tokens == 2


def test_unknown_ids_may_be_aborted() -> None:
    """Aborting what is not running does nothing, before and after."""
    engine, request = Engine(model()), asked(Mode.AR, tokens=2)
    engine.abort(uuid4())
    engine.abort(request.id)
    assert engine.step() == []
    engine.submit(request)
    assert finished(drained(engine)).reason is FinishReason.LENGTH
    engine.abort(request.id)
    assert engine.step() == []


def test_threads_may_submit_and_abort() -> None:
    """Requests from many threads all come to an end while one thread owns the engine."""
    engine, ends = Engine(model()), dict[UUID, FinishReason]()
    requests = [asked(Mode.AR, tokens=40) for _ in range(12)]

    def client(part: list[GenerationRequest]) -> None:
        for index, request in enumerate(part):
            engine.submit(request)
            if index % 2:
                engine.abort(request.id)

    threads = [threading.Thread(target=client, args=(requests[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    while len(ends) < len(requests):
        engine.wait(0.05)
        ends.update({event.generation: event.reason for event in engine.step() if isinstance(event, Finished)})
    for thread in threads:
        thread.join()
    assert [ends[request.id] for request in requests] == [
        FinishReason.ABORTED if index // 4 % 2 else FinishReason.LENGTH for index in range(12)
    ]


def test_wait_wakes_on_submit() -> None:
    """The owner sleeps while there is nothing to do and wakes when a request comes."""
    engine = Engine(model())
    timer = threading.Timer(0.05, lambda: engine.submit(asked(Mode.AR)))
    timer.start()
    engine.wait(1000.0)  # longer than any test may take: whoever comes back was woken
    timer.join()
    assert not engine.idle()
