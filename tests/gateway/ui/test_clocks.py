"""Clocks of what waits, as they are spelled and when they are near their end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gateway.ui.reviewing.clocks import clock, spell_left

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-1, "over"), (0, "over"), (7, "0:07"), (192, "3:12"), (2467, "41:07"), (3760, "1:02:40"), (172_799, "47:59:59"),
        (172_800, "2 days"),
    ],
)  # fmt: skip
def test_a_countdown_is_spelled(seconds: int, told: str) -> None:
    """To the second below two days, then in days; nothing left is over."""
    assert spell_left(timedelta(seconds=seconds)) == told


@pytest.mark.parametrize(
    ("whole", "left", "near"), [(86_400, 9000, False), (86_400, 8000, True), (600, 301, False), (600, 299, True)]
)
def test_a_clock_is_near_its_end(whole: int, left: int, near: bool) -> None:
    """A tenth of all the time, or five minutes, whichever is more."""
    until = NOON + timedelta(seconds=left)
    assert clock(until - timedelta(seconds=whole), until, NOON).near is near
