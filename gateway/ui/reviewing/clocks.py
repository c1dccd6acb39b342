"""Until when something waits, as a clock: what is left, and the moment from which that is little."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

NEAR: Final = timedelta(minutes=5)
"""This much left is little, or a tenth of all of it, whichever is more."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What is left until `until`; from `near_from` on it stands in the colour of what is held."""

    until: datetime
    near_from: datetime
    now: datetime

    @property
    def near(self) -> bool:
        """Whether little is left."""
        return self.now >= self.near_from

    @property
    def left(self) -> str:
        """`3:12`, `1:02:40`, `2 days`; `over` when nothing is."""
        return spell_left(self.until - self.now)


def clock(opened: datetime, until: datetime, now: datetime | None = None) -> Clock:
    """The clock of something that waits from `opened` until `until`."""
    return Clock(until, until - max(NEAR, (until - opened) / 10), now or datetime.now(UTC))


def spell_left(left: timedelta) -> str:
    """A countdown: to the second below two days, then in days."""
    seconds = int(left.total_seconds())
    if seconds <= 0:
        return "over"
    if seconds >= 2 * 86_400:
        return f"{seconds // 86_400} days"
    hours, minutes, rest = seconds // 3600, seconds // 60 % 60, seconds % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
