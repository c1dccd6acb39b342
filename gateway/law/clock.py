"""Time as policies count it: minutes of the week in the time zone of the document, and the zone as the database knows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

_OF_THIS_MACHINE: Final = frozenset({"localtime"})
"""What some machines list beside the zones; each means another zone by it, and a database none."""
_ABBREVIATED: Final = {"CET": "Europe/Brussels", "MET": "Europe/Brussels", "EET": "Europe/Athens", "WET": "Europe/Lisbon"}
"""Zones whose names PostgreSQL takes for abbreviations, without summer time; the same zones by their other names."""


def minute_of_week(timezone: str, now: datetime | None = None) -> int | None:
    """Minutes since Monday 00:00 there; None for a time zone that this machine does not know, so that every window is open."""
    try:
        there = (now or datetime.now(UTC)).astimezone(ZoneInfo(timezone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
    return (there.weekday() * 24 + there.hour) * 60 + there.minute


def timezones() -> frozenset[str]:
    """The time zones that this machine knows, and means the same by as everybody else."""
    return frozenset(available_timezones()) - _OF_THIS_MACHINE


def zone_of_database(timezone: str) -> str:
    """The name under which PostgreSQL has the same time zone."""
    return _ABBREVIATED.get(timezone, timezone)
