"""Laws of early ends: aborts, broken numbers, and what they leave on record and in the pages."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
import torch

from engine.engine import Engine
from engine.errors import PageFault
from engine.events import BlockDecoded, Event, Finished, FinishReason, Gated, Noted, NoteKind, Prefilled, SpecRound
from engine.gates import Gate, Ruling, Verdict
from engine.model.checkpoint import LoadedModel, load
from engine.request import CAUSAL_MODES, Constraint, ConstraintKind, Mode
from engine.scheduler import Capacity, Live
from tests.engine.harness import (
    MODES,
    asked,
    decoded,
    drained,
    events_of,
    finished,
    loaded,
    model,
    nameless,
    output,
    stepped,
    tokenizer,
)
from tests.engine.small import TINY, small_network


def test_an_idle_engine_notices_that_its_pool_lost_count() -> None:
    """The first step that finds nothing to do raises when a page is still owned."""
    engine = Engine(model())
    events_of(engine, asked(Mode.AR, (5,) * 40, tokens=3))
    engine._pool._owners[1] += 1
    with pytest.raises(PageFault, match="lost count"):
        engine.step()


def poisoned(token: int) -> LoadedModel:
    """The small model with one damaged embedding: any pass that sees `token` gives no numbers."""
    network = small_network()
    with torch.no_grad():
        network.embed_tokens.weight[token] = torch.nan
    return loaded(network)


@pytest.mark.parametrize("mode", MODES)
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


def test_a_worn_out_constraint_ends_who_follows_it_and_nobody_else() -> None:
    """One whose shared constraint was worn out while it stood in line ends with a fault as it begins; the engine goes on."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    rivals = "|".join(f"{letter}[a-z ]{{{12 + place * 5 % 13}}}" for place, letter in enumerate(letters))
    costly = Constraint(ConstraintKind.REGEX, f"[a-z ]*({rivals})")
    engine = Engine(load(TINY), capacity=Capacity(running=1))
    requests = [asked(Mode.AR, tokens=400, temperature=30.0, seed=seed, constraint=costly) for seed in range(2)]
    plain = asked(Mode.AR)
    found = events_of(engine, *requests, plain)
    for request in requests:
        assert finished(found[request.id]).reason is FinishReason.FAULT
        assert any(isinstance(event, Noted) and "too many states" in event.detail for event in found[request.id])
    assert output(found[requests[0].id]) and not output(found[requests[1].id])
    assert finished(found[plain.id]).reason is FinishReason.LENGTH


@pytest.mark.parametrize("tokens", [8, 9, 40])
@pytest.mark.parametrize("mode", CAUSAL_MODES)
def test_a_dead_end_takes_back_nothing_in_any_mode(mode: Mode, tokens: int) -> None:
    """Where the constraint runs into a dead end behind drafts that hold, these are told, as `ar` tells them."""
    letter = tokenizer().encode("x")
    dead_end = Constraint(ConstraintKind.GRAMMAR, 'start: "xxxxxxxx" B | "~"\nB: /[a-c]/ & /[d-e]/')
    request = asked(mode, letter, tokens, repetition_penalty=1e-6, constraint=dead_end)
    events = decoded(model(2, vocab_size=400), request)
    assert output(events) == (*letter,) * 8
    assert finished(events).reason is (FinishReason.LENGTH if tokens == 8 else FinishReason.FAULT)
    assert tokens == 8 or any(isinstance(event, Noted) and "a dead end" in event.detail for event in events)


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


@pytest.mark.parametrize(
    ("mode", "steps", "place"), [(Mode.LINEAR_SPEC, 1, 0), (Mode.QUADRATIC_SPEC, 1, 0), (Mode.LINEAR_SPEC, 3, 1)]
)
def test_abort_tells_the_unverified_draft(mode: Mode, steps: int, place: int) -> None:
    """A draft that was never verified is said, marked incomplete, and gives no output; a pass that drafted alone is counted."""
    request = asked(mode)
    engine = Engine(model())
    stepped(engine, request, steps)
    engine.abort(request.id)
    found = engine.step()[0]
    whole = [event for event in decoded(model(), request) if isinstance(event, SpecRound)][place]
    assert isinstance(found, SpecRound) and not found.complete
    assert (found.draft, found.draft_confidence, found.forwards) == (whole.draft, whole.draft_confidence, place)
    assert found.verified == found.output == found.logprob == ()


@pytest.mark.parametrize("steps", range(2, 45, 3))
def test_an_early_end_asks_for_no_verdict(steps: int) -> None:
    """The gate judges no causal text that an abort has cut: its verdicts are those that the whole answer begins with."""
    request = asked(Mode.AR, tokens=60, gate=Gate(lambda _: Ruling(Verdict.ACCEPT), frozenset(Verdict)))
    engine = Engine(model())
    events = stepped(engine, request, steps)
    engine.abort(request.id)
    events += engine.step()
    given, due = ([event for event in told if isinstance(event, Gated)] for told in (events, decoded(model(), request)))
    assert given == due[: len(given)]


def test_a_fault_ends_one_generation() -> None:
    """A generation whose numbers break ends with a fault; those beside it finish as if alone."""
    damaged = poisoned(77)
    bad, good = asked(Mode.AR, (1, 77, 2)), [asked(mode) for mode in MODES]
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


def damage(engine: Engine, generation: UUID) -> Live:
    """Write NaN over the newest filled slot of a running generation."""
    live = next(live for live in engine._scheduler if live.id == generation)
    page, offset = divmod(live.session.cache.filled - 1, 32)
    engine._pool.kv[0, live.session.cache.pages[page], offset, 1] = torch.nan
    return live


@pytest.mark.parametrize("mode", MODES)
def test_a_damaged_page_ends_its_own_generation(mode: Mode) -> None:
    """NaN in one generation's page is its fault alone: those beside it, its place in a pass too, tell what they tell alone."""
    engine, bad = Engine(model()), asked(mode, (7,) * 40, tokens=60)
    good = [asked(other, (3,) * 33, tokens=20, temperature=0.8) for other in MODES]
    told: list[Event] = []
    for request in (good[0], bad, *good[1:]):
        engine.submit(request)
    for _ in range(3):
        told += engine.step()
    damage(engine, bad.id)
    told += drained(engine)
    by_id = {request.id: [event for event in told if event.generation == request.id] for request in (bad, *good)}
    assert finished(by_id[bad.id]).reason is FinishReason.FAULT
    for request in good:
        assert nameless(by_id[request.id])[2:] == nameless(decoded(model(), request))[2:]


def test_spoilt_pages_are_zeroed_and_never_found() -> None:
    """The pages of a fault hold zeros before anyone gets them, and their content is known to nobody."""
    engine, bad = Engine(model(), capacity=Capacity(pages=6)), asked(Mode.AR, (7,) * 70, tokens=60)
    engine.submit(bad)
    for _ in range(4):
        engine.step()
    pages = list(damage(engine, bad.id).session.cache.pages)
    assert finished(drained(engine)).reason is FinishReason.FAULT
    assert len(pages) >= 3 and not engine._pool.kv[:, pages].any() and bool(engine._pool.kv.isfinite().all())
    again = replace(bad, id=UUID(int=3))
    events = events_of(engine, again)[again.id]
    assert events[1] == Prefilled(again.id, tokens=70, cached=0, passes=1)
    assert nameless(events) == nameless(decoded(model(), bad))


def test_a_shared_page_that_breaks_is_forgotten_with_its_last_owner() -> None:
    """Two generations on one damaged prefix both end, and a third with the same prompt computes it anew."""
    engine, prompt = Engine(model()), tuple(range(80))
    events_of(engine, asked(Mode.AR, prompt, tokens=1))
    pair = [asked(Mode.AR, prompt, tokens=40, seed=seed) for seed in (1, 2)]
    for request in pair:
        engine.submit(request)
    engine.step()
    first, second = (live.session.cache.pages for live in engine._scheduler)
    assert first[:2] == second[:2]
    engine._pool.kv[0, first[0], 3] = torch.nan
    assert {event.reason for event in drained(engine) if isinstance(event, Finished)} == {FinishReason.FAULT}
    third = asked(Mode.AR, prompt, tokens=20)
    events = events_of(engine, third)[third.id]
    assert nameless(events) == nameless(decoded(model(), third))
    engine._pool.check()
