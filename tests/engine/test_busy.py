"""Whose time a pass was: all of it is somebody's, by rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from unittest.mock import patch

import pytest

from engine.chain import Link
from engine.engine import Engine
from engine.events import Finished
from engine.request import Mode
from engine.scheduler import Turn
from tests.engine.harness import asked, decoded, drained, finished, model, nameless

PASS_US = 1_000


def clocked(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """Every pass takes a millisecond; the answer fills with the rows of each generation in each pass."""
    passes: list[dict[str, int]] = []
    ticks = count()
    monkeypatch.setattr("engine.busy.time.perf_counter", lambda: next(ticks) * PASS_US / 1_000_000)
    run = engine._chain

    def counted(turns: list[Turn], links: list[Link]) -> Iterator[Link]:
        passes.append({str(turn.live.id): turn.step.frame.size for turn in turns})
        return run(turns, links)

    monkeypatch.setattr(engine, "_chain", counted)
    return passes


def test_every_pass_is_shared_out_by_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each generation is charged, of every pass, what its rows are of all rows; together they are charged all the time."""
    engine = Engine(model())
    passes = clocked(engine, monkeypatch)
    long = tuple(1 + place % 50 for place in range(300))
    spec = asked(Mode.LINEAR_SPEC), asked(Mode.QUADRATIC_SPEC, tokens=5)
    requests = [asked(Mode.AR), asked(Mode.DIFFUSION, prompt=long), *spec]
    for request in requests:
        engine.submit(request)
    ends = [event for event in drained(engine) if isinstance(event, Finished)]
    assert len(ends) == len(requests) and len(passes) > 10
    told = 0
    for end in ends:
        name = str(end.generation)
        share = sum(rows[name] / sum(rows.values()) for rows in passes if name in rows)
        assert end.busy_us is not None and abs(end.busy_us - share * PASS_US) <= 1
        told += end.busy_us
    assert abs(told - len(passes) * PASS_US) <= len(ends)


def test_a_pass_that_failed_was_work_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that was spent on a pass that broke is charged like any other; whoever is ended by it declares it."""
    engine = Engine(model())
    request = asked(Mode.AR)
    engine.submit(request)
    engine.step()
    ticks = count()
    monkeypatch.setattr("engine.busy.time.perf_counter", lambda: float(next(ticks)))

    def lost(_: object, passes: Iterator[Link], __: object) -> None:
        next(passes)
        raise RuntimeError("the device is lost")

    with patch.object(type(engine._forward), "__call__", lost):
        (end,) = [event for event in engine.step() if isinstance(event, Finished)]
    assert end.busy_us is not None and end.busy_us >= 1_000_000


def test_equal_generations_need_not_take_equally_long() -> None:
    """How long it took is no part of what a generation did: two that did the same are equal."""
    first, second = (decoded(model(), asked(Mode.AR)) for _ in range(2))
    assert nameless(first) == nameless(second)
    one, other = finished(first), finished(second)
    assert one.busy_us and other.busy_us
    assert replace(one, busy_us=1) == replace(other, generation=one.generation, busy_us=2)
