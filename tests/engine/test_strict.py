"""Laws of `strict`: a generation tells the same events, to the last bit, whatever runs beside it and whatever befell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from engine.engine import Engine
from engine.events import Admitted, Event, Noted, NoteKind, Prefilled
from engine.gates import BlockFacts, Gate, Ruling, Verdict
from engine.request import GenerationRequest, Mode
from engine.scheduler import Capacity
from tests.engine.harness import MODES, asked, decoded, events_of, model

BORDERS = (1, 31, 32, 33, 127, 128, 129, 300)
FATES = (NoteKind.PREEMPTED, NoteKind.RESUMED)


def doubts(facts: BlockFacts) -> Ruling:
    """Refine what was committed without confidence, hold what the causal pass disagrees with."""
    if (facts.confidence_min or 1.0) < 0.3:
        return Ruling(Verdict.REFINE, "unsure", threshold=0.3, steps=12)
    return Ruling(Verdict.HOLD if (facts.agreement or 1.0) < 0.5 else Verdict.ACCEPT)


GATE = Gate(doubts, frozenset({Verdict.ACCEPT, Verdict.REFINE, Verdict.HOLD}))


def essence(events: Sequence[Event]) -> list[Event]:
    """The events without the generation's id and without what company and luck may change: prefix hits and preemptions."""
    found: list[Event] = []
    for event in events:
        if isinstance(event, Noted) and event.note in FATES:
            continue
        if isinstance(event, Admitted):
            found.append(replace(event, request=replace(event.request, id=UUID(int=0), cache_salt="")))
            continue
        nameless = replace(event, generation=UUID(int=0))
        found.append(replace(nameless, cached=0, passes=0) if isinstance(nameless, Prefilled) else nameless)
    return found


def same_as_alone(together: dict[UUID, list[Event]], requests: Sequence[GenerationRequest]) -> None:
    """Each request told what it tells in an engine of its own."""
    for request in requests:
        assert essence(together[request.id]) == essence(decoded(model(), request))


def mixture(tokens: int = 18) -> list[GenerationRequest]:
    """All modes, block lengths, temperatures, rules and gates, over prompts with common beginnings."""
    wishes: tuple[dict[str, Any], ...] = (
        {"temperature": 0.0, "block": 8},
        {"temperature": 0.8, "block": 16, "gate": GATE, "threshold": 0.2},
        {"temperature": 1.0, "block": 5, "top_p": 0.9, "frequency_penalty": 0.7, "gate": GATE, "seed_first": False},
        {"temperature": 0.7, "block": 9, "repetition_penalty": 1.3, "top_k": 9, "top_logprobs": 3, "threshold": None},
    )
    lengths = (3, 65, 140, 33)
    return [
        asked(mode, tuple((3 * n + index % 2) % 90 for n in range(length)), tokens, **wish)
        for mode in MODES
        for index, (wish, length) in enumerate(zip(wishes, lengths, strict=True))
    ]


def test_neighbours_change_nothing() -> None:
    """In a batch of all modes, blocks, temperatures, rules and gates each generation tells what it tells alone."""
    requests = mixture()
    same_as_alone(events_of(Engine(model()), *requests), requests)


def test_the_order_of_arrival_changes_nothing() -> None:
    """Nor does it matter who came first, or how many rows a pass may have."""
    requests = mixture()[::-1]
    same_as_alone(events_of(Engine(model(), capacity=Capacity(rows=90, running=5)), *requests), requests)


@pytest.mark.parametrize("half", [0, 1])
def test_preemption_changes_nothing(half: int) -> None:
    """Generations that lost their pages and computed them again tell what they tell undisturbed."""
    requests = mixture(tokens=70)[half::2]
    together = events_of(Engine(model(), capacity=Capacity(pages=8)), *requests)
    notes = [event.note for events in together.values() for event in events if isinstance(event, Noted)]
    assert notes.count(NoteKind.PREEMPTED) == notes.count(NoteKind.RESUMED) > 0
    same_as_alone(together, requests)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("length", BORDERS)
def test_a_prefix_hit_changes_nothing(mode: Mode, length: int) -> None:
    """A prompt that is found in the cache, wherever chunk and page borders fall in it, gives the events of one computed."""
    prompt = tuple((5 * n + length) % 99 for n in range(length))
    engine, first = Engine(model()), asked(mode, prompt, 12, temperature=0.8)
    second = replace(first, id=UUID(int=2))
    before, after = (events_of(engine, request)[request.id] for request in (first, second))
    hits = [event.cached for event in (*before, *after) if isinstance(event, Prefilled)]
    assert hits == [0, (length - 1) // 32 * 32]
    assert essence(before) == essence(after) == essence(decoded(model(), first))


def test_tenants_share_no_prefix() -> None:
    """A prompt is found again by its own tenant only, whatever else is equal, and the answer is the same either way."""
    engine, prompt = Engine(model()), tuple(range(70))
    hits, texts = [], []
    for salt in ("", "one", "two", "one", ""):
        request = asked(Mode.AR, prompt, 6, cache_salt=salt)
        events = events_of(engine, request)[request.id]
        hits += [event.cached for event in events if isinstance(event, Prefilled)]
        texts.append(essence(events))
    assert hits == [0, 0, 0, 64, 64]
    assert all(text == texts[0] for text in texts)


def test_prompts_that_share_a_beginning_change_nothing() -> None:
    """Generations that run at once on shared pages tell what they tell on pages of their own."""
    common = tuple((7 * n) % 99 for n in range(150))
    engine, first = Engine(model()), asked(Mode.AR, common, 2)
    events_of(engine, first)
    requests = [asked(mode, (*common, *range(end)), 20, temperature=0.8) for mode in MODES for end in (1, 40)]
    together = events_of(engine, *requests)
    cached = [event.cached for events in together.values() for event in events if isinstance(event, Prefilled)]
    assert min(cached) >= 128
    same_as_alone(together, requests)


def test_lengths_around_every_border_run_side_by_side() -> None:
    """Prompts of every length around page, tile and chunk borders do not feel each other."""
    requests = [asked(mode, tuple(n % 97 for n in range(length)), 9, temperature=0.7) for mode in MODES for length in BORDERS]
    same_as_alone(events_of(Engine(model(), capacity=Capacity(rows=300)), *requests), requests)


@pytest.mark.parametrize("mode", MODES)
def test_admission_names_every_value(mode: Mode) -> None:
    """The first event holds every effective value that decides the tokens: the request, and what the engine runs under."""
    request, engine = asked(mode, temperature=0.8, top_p=0.9, stop=(9, 4), gate=GATE), Engine(model())
    admitted = events_of(engine, request)[request.id][0]
    assert admitted == Admitted(request, "strict", engine.fingerprint, "float32") and admitted.generation == request.id
