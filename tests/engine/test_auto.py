"""Laws of `auto`: the text of `ar`, the mode that suits the load, said whenever it changes, never one that is not permitted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pytest

from engine.engine import Engine
from engine.errors import InvalidRequest
from engine.events import Event, Noted, NoteKind, RunDecoded, SpecRound
from engine.modes.auto import LOADS, choose
from engine.request import CAUSAL_MODES, Mode
from tests.engine.harness import MODES, asked, decoded, events_of, model, output

SUBSETS = [frozenset(part) for size in range(5) for part in combinations(MODES, size)]
CHOICES = [part for part in SUBSETS if part & set(CAUSAL_MODES)]
NO_CHOICE = [part for part in SUBSETS if part not in CHOICES]


def named(part: frozenset[Mode]) -> str:
    """The subset as a test's name."""
    return "+".join(sorted(part)) or "nothing"


def switches(events: Sequence[Event]) -> list[str]:
    """What `auto` said of its choices."""
    return [event.detail for event in events if isinstance(event, Noted) and event.note is NoteKind.MODE_SWITCH]


def used(events: Sequence[Event]) -> set[Mode]:
    """The modes that the events after the first token could have come from."""
    found: set[Mode] = set()
    outputs = [event for event in events if isinstance(event, SpecRound | RunDecoded)]
    for event in outputs[1:]:
        found.add(Mode.AR if isinstance(event, RunDecoded) else Mode.LINEAR_SPEC)
    if isinstance(outputs[0], SpecRound):
        found = {Mode.QUADRATIC_SPEC}
    return found


@pytest.mark.parametrize("permitted", CHOICES, ids=named)
@pytest.mark.parametrize("crowd", [1, 6, 30])
def test_it_stays_within_what_is_permitted(permitted: frozenset[Mode], crowd: int) -> None:
    """For every permitted subset and load the text is that of `ar` and no event is of another mode."""
    requests = [asked(Mode.AUTO, tokens=20, block=8, seed=n, temperature=0.8, modes_permitted=permitted) for n in range(crowd)]
    together = events_of(Engine(model()), *requests)
    for request in requests[:2]:
        events = together[request.id]
        seed = request.sampling.seed
        assert output(events) == output(decoded(model(), asked(Mode.AR, tokens=20, seed=seed, temperature=0.8)))
        assert used(events) <= permitted
        assert len(switches(events)) >= 1


@pytest.mark.parametrize("permitted", CHOICES, ids=named)
def test_blocks_of_one_are_no_way_around(permitted: frozenset[Mode]) -> None:
    """At block length 1 too nothing is told, nor said of the choice, of a mode that is not permitted."""
    request = asked(Mode.AUTO, tokens=6, block=1, modes_permitted=permitted)
    events = decoded(model(), request)
    assert output(events) == output(decoded(model(), asked(Mode.AR, tokens=6)))
    assert used(events) <= permitted
    assert all(Mode.AR in permitted or "auto: ar" not in said for said in switches(events))


@pytest.mark.parametrize("permitted", NO_CHOICE, ids=named)
def test_nothing_to_choose_is_refused(permitted: frozenset[Mode]) -> None:
    """Without a causal mode there is no choice, and the request is refused."""
    with pytest.raises(InvalidRequest, match="auto needs a causal mode"):
        asked(Mode.AUTO, modes_permitted=permitted)


@pytest.mark.parametrize("load", [1, 4, 5, 11, 12, 22, 23, 500])
def test_the_choice_follows_the_load(load: int) -> None:
    """Blocks of 32, 16 and 8 up to 4, 11 and 22 generations, then `ar`; never longer than asked for."""
    wanted = next((block for most, block in LOADS if load <= most), 1)
    everything = frozenset(MODES)
    assert choose(everything, load, 32) == wanted
    assert choose(everything, load, 8) == min(8, wanted)
    assert choose(everything - {Mode.LINEAR_SPEC}, load, 32) == 1
    assert choose(everything - {Mode.AR}, load, 32) == max(8, wanted)


def test_a_change_of_load_is_said_once() -> None:
    """As a crowd leaves, the choice moves from `ar` to ever longer blocks, each change in one note with its load."""
    long = asked(Mode.AUTO, tokens=150, block=32)
    sizes = (5,) * 12 + (30,) * 9 + (60,) * 6
    crowd = [asked(Mode.AR, tokens=tokens) for tokens in sizes]
    events = events_of(Engine(model()), long, *crowd)[long.id]
    said = switches(events)
    assert said[0] == f"auto: ar at a load of {len(crowd) + 1}"
    assert [line.split(" at ")[0] for line in said] == [
        "auto: ar",
        "auto: linear_spec in blocks of 8",
        "auto: linear_spec in blocks of 16",
        "auto: linear_spec in blocks of 32",
    ]
    assert output(events) == output(decoded(model(), asked(Mode.AR, tokens=150)))


def test_a_note_stands_before_what_it_is_about() -> None:
    """Every round is as long as the last note said."""
    long = asked(Mode.AUTO, tokens=120, block=32)
    crowd = [asked(Mode.AR, tokens=40) for _ in range(8)]
    size = 0
    for event in events_of(Engine(model()), long, *crowd)[long.id]:
        if isinstance(event, Noted):
            size = int(event.detail.split("blocks of ")[1].split(" ")[0])
        if isinstance(event, SpecRound):
            assert len(event.draft) == size
    assert size == 32
