"""Windows of the week: which of its 10,080 minutes, counted from Monday 00:00, a time condition holds in."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from policies.rules import DAYS, TimeWindow
from policies.words import ENTRIES_MOST

DAY: Final = 24 * 60
WEEK: Final = 7 * DAY


@lru_cache(2 * ENTRIES_MOST)  # every pair of rules with windows is compared
def open_minutes(window: TimeWindow) -> bytes:
    """One byte per minute of the week, 1 where the window is open; none is, where it opens as it closes."""
    table = bytearray(WEEK)
    after, before = _minute(window.after), _minute(window.before)
    length = before - after if after <= before else before + DAY - after
    for day in {DAYS.index(name) for name in window.days}:
        for minute in range(length):
            table[(day * DAY + after + minute) % WEEK] = 1
    return bytes(table)


def _minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
