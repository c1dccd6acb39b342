"""What is reserved of seconds follows what forwards have cost lately."""

from __future__ import annotations

from decimal import Decimal

from gateway.budgets.pace import REMEMBERED, UNKNOWN_PACE, Pace


def test_the_pace_is_learnt() -> None:
    """Twice the usual time of a forward is reserved; a guess before anything ran, and what made no forward teaches nothing."""
    pace = Pace()
    pace.learn(Decimal(5), 0)
    assert pace.reserved == UNKNOWN_PACE
    pace.learn(Decimal(1), 10)
    pace.learn(Decimal(2), 20)
    assert pace.reserved == Decimal("0.2")


def test_old_days_are_forgotten() -> None:
    """What was slow long ago no longer counts."""
    pace = Pace()
    for seconds in (100, *(1 for _ in range(REMEMBERED))):
        pace.learn(Decimal(seconds), 10)
    assert pace.reserved == Decimal("0.2")
