"""Laws of the engine: generations side by side, ends of every kind, and the threads around it."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
import torch

from engine.engine import Engine
from engine.errors import InvalidRequest
from engine.events import (
    Admitted,
    BlockDecoded,
    Event,
    Finished,
    FinishReason,
    Noted,
    NoteKind,
    Prefilled,
    RunDecoded,
    SpecRound,
)
from engine.model.checkpoint import LoadedModel
from engine.request import GenerationRequest, Mode
from tests.engine.harness import asked, decoded, events_of, finished, loaded, model, output, play
from tests.engine.small import small_network


def nameless(events: Sequence[Event]) -> list[str]:
    """Events without the generation's id, for comparing two runs."""
    return [repr(event).replace(str(event.generation), "") for event in events]


def poisoned(token: int) -> LoadedModel:
    """The small model with one damaged embedding: any pass that sees `token` gives no numbers."""
    network = small_network()
    with torch.no_grad():
        network.embed_tokens.weight[token] = torch.nan
    return loaded(network)


def stepped(engine: Engine, request: GenerationRequest, steps: int) -> list[Event]:
    """Submit and make `steps` steps."""
    engine.submit(request)
    return [event for _ in range(steps) for event in engine.step()]


def drained(engine: Engine) -> list[Event]:
    """Step until idle."""
    found: list[Event] = []
    while not engine.idle():
        found += engine.step()
    return found


def mixed_requests() -> list[GenerationRequest]:
    """Requests of every mode and length, to run side by side."""
    return [
        asked(mode, prompt, tokens, temperature=temperature, block=block, seed=seed)
        for mode in Mode
        for seed, (prompt, tokens, temperature, block) in enumerate(
            [((1, 2), 9, 0.0, 4), (tuple(range(60)), 17, 0.8, 8), ((4,) * 200, 5, 1.0, 16)]
        )
    ]


def test_generations_do_not_feel_each_other() -> None:
    """Every event of a request is the same alone as among eleven others of all modes."""
    requests = mixed_requests()
    together = events_of(Engine(model()), *requests)
    for request in requests:
        assert nameless(together[request.id]) == nameless(decoded(model(), request))


@pytest.mark.parametrize("mode", list(Mode))
def test_replay_gives_the_same_events(mode: Mode) -> None:
    """The same request twice, in two engines, gives the same events to the last bit."""
    request = asked(mode, temperature=0.8)
    assert decoded(model(), request) == decoded(model(), request)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("tokens", [1, 2, 23])
def test_the_events_tell_everything(mode: Mode, tokens: int) -> None:
    """Text, totals and digest can be rebuilt from the events alone, which begin with admission and end with the totals."""
    request = asked(mode, tokens=tokens, temperature=0.8)
    events = decoded(model(), request)
    admitted, prefilled, closing = events[0], events[1], finished(events)
    text = output(events)
    told = [event for event in events if isinstance(event, BlockDecoded | SpecRound | RunDecoded)]
    assert isinstance(admitted, Admitted) and (admitted.mode, admitted.seed, admitted.numeric) == (mode, 7, "strict")
    assert prefilled == Prefilled(request.id, tokens=3, passes=1)
    assert len(events) == 3 + len(told)
    assert closing.tokens == len(text) == tokens
    assert closing.forwards == sum(event.forwards for event in told)
    assert closing.blocks == sum(isinstance(event, BlockDecoded) for event in told)
    assert closing.rounds == sum(isinstance(event, SpecRound) for event in told)
    assert closing.steps == sum(len(event.steps) for event in told if isinstance(event, BlockDecoded))
    assert closing.output_digest == hashlib.sha256(b"".join(t.to_bytes(4, "big") for t in text)).hexdigest()


@pytest.mark.parametrize("mode", [Mode.AR, Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC])
def test_starts_follow_the_output(mode: Mode) -> None:
    """Runs start where the output before them ended; a round starts at its first draft."""
    position = 3
    for event in decoded(model(), asked(mode, temperature=0.8)):
        if isinstance(event, RunDecoded):
            assert event.start == position
        if isinstance(event, SpecRound):
            assert event.start == position - (mode is Mode.LINEAR_SPEC)
        position += len(event.output) if isinstance(event, RunDecoded | SpecRound) else 0


def test_ar_is_told_in_growing_runs() -> None:
    """The first token is told at once, later ones in runs of at most eight."""
    runs = [event for event in decoded(model(), asked(Mode.AR, tokens=30)) if isinstance(event, RunDecoded)]
    assert [len(run.output) for run in runs] == [1, 2, 4, 8, 8, 7]
    assert [run.forwards for run in runs] == [0, 2, 4, 8, 8, 7]


def test_a_long_prompt_is_prefilled_in_chunks() -> None:
    """Prefill passes are counted apart from forwards, and other generations move between them."""
    long, short = asked(Mode.AR, (5,) * 300, tokens=2), asked(Mode.AR, tokens=2)
    engine = Engine(model())
    engine.submit(long)
    engine.submit(short)
    first, second = engine.step(), engine.step()
    assert any(event.generation == short.id and isinstance(event, Finished) for event in (*first, *second))
    rest = drained(engine)
    assert Prefilled(long.id, tokens=300, passes=3) in rest
    assert finished(rest).forwards == 1


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 6])
def test_abort_in_any_state(mode: Mode, steps: int) -> None:
    """Abort ends a generation at the next step; what was output is a prefix of the whole text, and the totals agree."""
    request = asked(mode, (1,) * 140, tokens=24, temperature=0.8, threshold=2.0)
    engine = Engine(model())
    events = stepped(engine, request, steps)
    engine.abort(request.id)
    events += engine.step()
    assert engine.idle() and engine.step() == []
    note, closing = events[-2], finished(events)
    assert isinstance(note, Noted) and note.note is NoteKind.ABORTED
    assert closing.reason is FinishReason.ABORTED and closing.tokens == len(output(events))
    assert closing.forwards == max(0, steps - 2)
    assert output(decoded(model(), request))[: closing.tokens] == output(events)


def test_abort_tells_the_unfinished_block() -> None:
    """The steps of a block that was cut short are said, marked incomplete, and give no output."""
    request = asked(Mode.DIFFUSION, threshold=2.0)
    engine = Engine(model())
    events = stepped(engine, request, 4)
    engine.abort(request.id)
    block = engine.step()[0]
    whole = next(event for event in decoded(model(), request) if isinstance(event, BlockDecoded))
    assert isinstance(block, BlockDecoded) and not block.complete and block.emitted == 0
    assert block.steps == whole.steps[:3] and block.forwards == 3 and block.verifier_logprob == ()
    assert block.tokens.count(100) == 4
    assert not any(isinstance(event, BlockDecoded) for event in events)


@pytest.mark.parametrize("mode", [Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC])
def test_abort_tells_the_unverified_draft(mode: Mode) -> None:
    """A draft that was never verified is said, marked incomplete, and gives no output."""
    request = asked(mode)
    engine = Engine(model())
    stepped(engine, request, 2)
    engine.abort(request.id)
    found = engine.step()[0]
    whole = next(event for event in decoded(model(), request) if isinstance(event, SpecRound))
    assert isinstance(found, SpecRound) and not found.complete
    assert (found.draft, found.draft_confidence, found.forwards) == (whole.draft, whole.draft_confidence, 1)
    assert found.verified == found.output == found.logprob == ()


def test_a_fault_ends_one_generation() -> None:
    """A generation whose numbers break ends with a fault; those beside it finish as if alone."""
    damaged = poisoned(77)
    bad, good = asked(Mode.AR, (1, 77, 2)), [asked(mode) for mode in Mode]
    found = events_of(Engine(damaged), good[0], bad, *good[1:])
    note, closing = found[bad.id][-2], finished(found[bad.id])
    assert isinstance(note, Noted) and note.note is NoteKind.FAULT and "NumericFault" in note.detail
    assert closing.reason is FinishReason.FAULT and closing.tokens == 0
    for request in good:
        assert nameless(found[request.id]) == nameless(decoded(model(), request))


def test_a_fault_tells_the_unfinished_block() -> None:
    """When a block breaks in the middle, the steps before the break are said."""
    request = asked(Mode.DIFFUSION, threshold=2.0, temperature=1.0)
    whole = next(event for event in decoded(model(), request) if isinstance(event, BlockDecoded))
    second = whole.steps[1]
    token = second.proposal[second.committed.index(True)]
    known = [token for token, masked in zip(second.proposal, second.masked, strict=True) if not masked]
    assert token not in (*request.prompt, *known)
    events = decoded(poisoned(token), request)
    block = events[2]
    assert isinstance(block, BlockDecoded) and not block.complete and block.steps == whole.steps[:2]
    assert block.forwards == finished(events).forwards == 3
    assert finished(events).reason is FinishReason.FAULT


@pytest.mark.parametrize("mode", [Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC])
def test_a_fault_keeps_what_was_output(mode: Mode) -> None:
    """A fault in a later round takes back nothing that was said before it."""
    right = output(decoded(model(), asked(Mode.AR, tokens=20)))
    token = next(token for index, token in enumerate(right) if index > 3 and token not in (*right[:index], 1, 5, 9))
    closing = finished(decoded(poisoned(token), asked(mode, tokens=20)))
    assert closing.reason is FinishReason.FAULT and 0 < closing.tokens <= right.index(token) + 1


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


def test_a_step_respects_the_sink() -> None:
    """One step visits no further generation once it holds `sink_capacity` events; the others come first next time."""
    engine = Engine(model(), sink_capacity=3)
    requests = [asked(Mode.AR, tokens=3) for _ in range(6)]
    for request in requests:
        engine.submit(request)
    engine.step()
    sizes, order = [], []
    while not engine.idle():
        events = engine.step()
        sizes.append(len(events))
        order += [event.generation for event in events if isinstance(event, Prefilled)]
    assert order == [request.id for request in requests]
    assert max(sizes) <= 5


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
    deadline = time.monotonic() + 30
    while len(ends) < len(requests) and time.monotonic() < deadline:
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
    start = time.monotonic()
    timer.start()
    engine.wait(20)
    timer.join()
    assert time.monotonic() - start < 10 and not engine.idle()


@pytest.mark.parametrize("mode", list(Mode))
def test_every_pass_is_counted(mode: Mode) -> None:
    """Forwards are the passes made after prefill: no more, no fewer."""
    passes = []
    events, _ = play(model(), asked(mode, temperature=0.8), watch=lambda session: passes.append(session.cache.committed))
    assert finished(events).forwards == len(passes) - 1
