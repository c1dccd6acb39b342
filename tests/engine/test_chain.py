"""Passes in a row: whatever is guessed, each generation hears only what it would have heard pass by pass."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chain import Link
from engine.device import DevicePass, OnDevice
from engine.engine import Engine
from engine.events import Event
from engine.gates import BlockFacts, Gate, Ruling, Verdict
from engine.pages import PagePool
from engine.request import Constraint, ConstraintKind, GenerationRequest, Mode, Numeric
from engine.sampling import Picks
from engine.scheduler import Capacity
from tests.engine.harness import MODES, asked, events_of, finished, model, nameless, output

CPU = torch.device("cpu")
GIVEN = model(vocab_size=1100)


class Waiting:
    """A device that counts how often the host waits for it, and how many passes it ran; it runs at most `most` in a row."""

    def __init__(self, forward: DevicePass, most: int) -> None:
        self.waits = self.passes = 0
        self.most, self.padded, self.kernels, self._forward = most, forward.padded, forward.kernels, forward

    def __call__(self, passes: Iterable[Link], pool: PagePool) -> list[list[Picks]]:
        found = self._forward(islice(passes, self.most), pool)
        self.waits += 1
        self.passes += len(found)
        return found


def engine_of(most: int = DevicePass.most, capacity: Capacity | None = None) -> tuple[Engine, Waiting]:
    """An engine by the device's pass, which is told up to `most` passes in a row."""
    engine = Engine(GIVEN, OnDevice(Numeric.STRICT, CPU, torch.float32), capacity)
    assert isinstance(engine._forward, DevicePass)
    waiting = Waiting(engine._forward, most)
    engine._forward = waiting
    return engine, waiting


def heard(requests: Iterable[GenerationRequest], most: int, capacity: Capacity | None = None) -> list[list[Event]]:
    """The events of each, from one engine for all."""
    given = list(requests)
    events = events_of(engine_of(most, capacity)[0], *given)
    return [events[request.id] for request in given]


def fickle(block: int, verdict: Verdict) -> Gate:
    """A gate that gives `verdict` to one block's first attempt."""

    def judge(facts: BlockFacts) -> Ruling:
        chosen = verdict if (facts.index, facts.attempt) == (block, 0) else Verdict.ACCEPT
        return Ruling(chosen, "fickle", threshold=0.5, steps=3)

    return Gate(judge, frozenset(Verdict))


@st.composite
def requests(draw: st.DrawFn) -> GenerationRequest:
    """Any mode, with any of what makes a guess fail: a stop, a gate, an end in the middle; or what forbids one."""
    mode = draw(st.sampled_from(MODES))
    more: dict[str, Any] = {
        "block": draw(st.sampled_from([4, 8])),
        "temperature": draw(st.sampled_from([0.0, 0.9])),
        "stop": draw(st.sets(st.integers(0, 1099), max_size=300)),
        "threshold": draw(st.sampled_from([0.05, 0.9])),
        "seed_first": draw(st.booleans()),
        "top_logprobs": draw(st.sampled_from([0, 0, 2])),
        "repetition_penalty": draw(st.sampled_from([1.0, 1.0, 1.3])),
    }
    if draw(st.booleans()):
        more["gate"] = fickle(draw(st.integers(0, 2)), draw(st.sampled_from(Verdict)))
    if draw(st.sampled_from([False, False, True])):
        more["constraint"] = Constraint(ConstraintKind.REGEX, "(ab|a)*c{3,5}")
    prompt = draw(st.lists(st.integers(2, 90), min_size=1, max_size=40))
    return asked(mode, prompt, draw(st.integers(1, 20)), **more)


@settings(max_examples=20)
@given(requests())
def test_a_generation_hears_what_it_would_have_heard(request: GenerationRequest) -> None:
    """Guessed or not, every event is the same to the last bit."""
    (one_by_one,), (in_a_row,) = (heard([request], most) for most in (1, DevicePass.most))
    assert nameless(one_by_one) == nameless(in_a_row)


@settings(max_examples=10)
@given(st.lists(requests(), min_size=2, max_size=4))
def test_company_hears_what_it_would_have_heard(together: list[GenerationRequest]) -> None:
    """So do several at once, which end at different times; bits are the kernels' affair, which these definitions are not."""
    one_by_one, in_a_row = (heard(together, most) for most in (1, DevicePass.most))
    for before, after in zip(one_by_one, in_a_row, strict=True):
        assert list(map(type, before)) == list(map(type, after)) and output(before) == output(after)
        assert finished(before).forwards == finished(after).forwards


@pytest.mark.parametrize(
    ("mode", "a_wait"), [(Mode.AR, 3.4), (Mode.LINEAR_SPEC, 1.8), (Mode.DIFFUSION, 1.1), (Mode.QUADRATIC_SPEC, 1.0)]
)
def test_the_host_waits_once_for_several_passes(mode: Mode, a_wait: float) -> None:
    """Four tokens of `ar`, a draft and its verification, a block's commit and the first step of the next: one wait each."""
    request = asked(mode, tokens=40, threshold=0.9)
    engine, waiting = engine_of()
    events = events_of(engine, request)[request.id]
    assert waiting.passes == finished(events).forwards + 1, "no guess failed, and the prompt took a pass"
    assert waiting.passes / waiting.waits >= a_wait


def test_what_an_ended_answer_would_have_said_is_dropped() -> None:
    """A stop in the middle of a row of passes ends the answer there, and the passes behind it are nobody's."""
    whole = output(heard([asked(Mode.AR)], 1)[0])
    request = asked(Mode.AR, stop=(whole[2],))
    engine, waiting = engine_of()
    events = events_of(engine, request)[request.id]
    assert output(events) == whole[:3] and finished(events).forwards == 2
    assert (waiting.waits, waiting.passes) == (2, 1 + DevicePass.most)


@pytest.mark.parametrize("shaped", [{"repetition_penalty": 1.2}, {"top_logprobs": 1}, {"think_budget": 3}])
def test_what_the_host_must_pick_is_not_guessed(shaped: dict[str, Any]) -> None:
    """Rows with rules or alternatives are picked by the host, so nothing runs behind them unheard."""
    engine, waiting = engine_of()
    events_of(engine, asked(Mode.AR, **shaped))
    assert waiting.waits == waiting.passes


def test_a_guess_takes_no_page_that_another_needs() -> None:
    """Where pages are short nothing is guessed for want of one, and every answer is the one of a roomy cache."""
    together = [asked(Mode.AR, (1 + place,) * 20, tokens=40) for place in range(4)]
    short = Capacity(pages=5)
    assert list(map(output, heard(together, 4, short))) == list(map(output, heard(together, 1)))


def test_a_pass_with_more_picks_than_can_be_kept_ends_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens of a pass that the next cannot find are told to the host first."""
    wanted = nameless(heard([asked(Mode.LINEAR_SPEC)], 1)[0])
    monkeypatch.setattr("engine.device.ROWS", (1, 2, 4))
    engine, waiting = engine_of()
    request = asked(Mode.LINEAR_SPEC)
    assert nameless(events_of(engine, request)[request.id]) == wanted
    assert waiting.waits == waiting.passes


@pytest.mark.parametrize("mode", [Mode.AR, Mode.LINEAR_SPEC, Mode.DIFFUSION])
@pytest.mark.parametrize(("most", "foretold"), [(1, False), (DevicePass.most, True)])
def test_a_step_foretells_only_where_passes_go_in_a_row(mode: Mode, most: int, foretold: bool) -> None:
    """What comes next is worked out for those who run ahead, and for nobody else."""
    engine, _ = engine_of(most)
    engine.submit(asked(mode, tokens=40))
    told = False
    while not engine.idle():
        engine.step()
        told |= any(live.wanted.follow for live in engine._scheduler)
    assert told is foretold
