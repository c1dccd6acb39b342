"""Time as policies count it: minutes of the week in the time zone of the document."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones


def minute_of_week(timezone: str, now: datetime | None = None) -> int | None:
    """Minutes since Monday 00:00 there; None for a time zone that this machine does not know, so that every window is open."""
    try:
        there = (now or datetime.now(UTC)).astimezone(ZoneInfo(timezone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
    return (there.weekday() * 24 + there.hour) * 60 + there.minute


def timezones() -> frozenset[str]:
    """The time zones that this machine knows."""
    return frozenset(available_timezones())
