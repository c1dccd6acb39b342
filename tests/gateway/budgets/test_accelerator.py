"""Every second in which anything runs is charged, once."""

from __future__ import annotations

from decimal import Decimal
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from gateway.budgets.accelerator import UNKNOWN_PACE, Accelerator

COURSES = st.lists(st.tuples(st.integers(0, 5_000), st.booleans()), max_size=40)
"""How many milliseconds pass before somebody comes (True) or the first that came leaves."""


@given(COURSES)
def test_the_shares_are_the_time_that_passed(course: list[tuple[int, bool]]) -> None:
    """Over any course the shares of all add up to the time in which any ran; equals that run together pay the same."""
    now = 0.0
    with patch("gateway.budgets.accelerator.time.monotonic", lambda: now):
        accelerator = Accelerator()
        running: list[float] = []
        busy, charged, left = Decimal(0), Decimal(0), 0
        for milliseconds, comes in [*course, *((7, False) for _ in course)]:
            now += milliseconds / 1000
            busy += Decimal(milliseconds) / 1000 if running else 0
            if comes:
                running.append(accelerator.enter())
            elif running:
                charged, left = charged + accelerator.leave(running.pop(0)), left + 1
    assert not running and abs(busy - charged) <= Decimal("0.000002") * left


def test_two_halve_a_second() -> None:
    """Alone a generation pays for every second, beside another for half of each."""
    now = 10.0
    with patch("gateway.budgets.accelerator.time.monotonic", lambda: now):
        accelerator = Accelerator()
        first = accelerator.enter()
        now += 3
        second = accelerator.enter()
        now += 4
        assert accelerator.leave(second) == 2
        now += 1
        assert accelerator.leave(first) == 6


def test_the_pace_is_learnt() -> None:
    """Twice the usual time of a forward is reserved; a guess before anything ran, and what made no forward teaches nothing."""
    accelerator = Accelerator()
    accelerator.learn(Decimal(5), 0)
    assert accelerator.pace == UNKNOWN_PACE
    accelerator.learn(Decimal(1), 10)
    accelerator.learn(Decimal(2), 20)
    assert accelerator.pace == Decimal("0.2")
