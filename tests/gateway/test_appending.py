"""Commits are shared by those who have company, and nobody waits for others who are not there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.appending import Haste


@given(st.integers(0, 10_000))
def test_more_company_means_a_longer_wait_up_to_a_bound(others: int) -> None:
    """A lone answer never waits, many wait no longer than a bound, and what is awaited waits less than what is not."""
    for haste in Haste:
        assert haste.linger(0) == 0.0
        assert haste.linger(others) <= haste.linger(others + 1) <= haste.value[1]
    assert Haste.AWAITED.linger(others) <= Haste.RUNNING.linger(others)


@pytest.mark.parametrize(("haste", "others", "seconds"), [(Haste.AWAITED, 15, 0.0045), (Haste.RUNNING, 15, 0.045)])
def test_sixteen_answers_wait_milliseconds(haste: Haste, others: int, seconds: float) -> None:
    """With sixteen answers at once text leaves at most 45 ms later, and nobody begins or ends 5 ms later."""
    assert haste.linger(others) == pytest.approx(seconds)
