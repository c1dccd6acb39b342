"""How pages spell what they show: times, digests, numbers, names. Filters and tests of the templates; pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from gateway.review.marks import on_a_line, visible

_STEPS: Final = ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h"), (30 * 86_400, 86_400, "days"))
_KEPT: Final = 4
DATES_FROM: Final = 30 * 86_400


def moment(time: datetime | int) -> datetime:
    """A time of the database, or microseconds since 1970 as records have them, in UTC."""
    return datetime.fromtimestamp(time / 1_000_000, UTC) if isinstance(time, int) else time.astimezone(UTC)


def exact(time: datetime | int) -> str:
    """To the second, with its zone."""
    return f"{moment(time):%Y-%m-%d %H:%M:%S} UTC"


def iso(time: datetime | int) -> str:
    """As machines read it."""
    return moment(time).isoformat(timespec="seconds")


def ago(time: datetime | int, now: datetime | None = None) -> str:
    """In words of one unit, before or after now; a date where it is more than a month away."""
    seconds = ((now or datetime.now(UTC)) - moment(time)).total_seconds()
    distance = abs(seconds)
    if distance >= DATES_FROM:
        return f"{moment(time):%Y-%m-%d}"
    span = spell_span(int(distance))
    return f"{span} ago" if seconds >= 0 else f"in {span}"


def spell_span(seconds: int) -> str:
    """A length of time in one unit: `41 s`, `3 min`, `2 h`, `5 days`."""
    for limit, unit, name in _STEPS:
        if seconds < limit:
            count = seconds // unit
            return f"{count} {'day' if (name, count) == ('days', 1) else name}"
    return f"{seconds // 86_400} days"


def short(digest: bytes | str) -> str:
    """The first and last digits of a digest or an id."""
    text = hexed(digest)
    return text if len(text) <= 2 * _KEPT + 1 else f"{text[:_KEPT]}…{text[-_KEPT:]}"


def hexed(digest: bytes | str) -> str:
    """A digest as text."""
    return digest.hex() if isinstance(digest, bytes) else str(digest)


def grouped(number: float) -> str:
    """A number with thin spaces between thousands; fractions to two places."""
    text = f"{number:,}" if isinstance(number, int) else f"{number:,.2f}"
    return text.replace(",", "\N{NARROW NO-BREAK SPACE}")


def share(part: float | None) -> str:
    """A fraction as per cent; unknown is said."""
    return "unknown" if part is None else f"{part:.1%}"


def spaced(name: str) -> str:
    """A name of the code as words: `policy_admin` is a policy admin."""
    return str(name).replace("_", " ")


def line(text: object) -> str:
    """What somebody wrote, on one line and with nothing in it that is not seen."""
    return on_a_line(str(text))


def shown(text: object) -> str:
    """The same with its own ends of lines."""
    return visible(str(text))


FILTERS: Final = {
    "exact": exact, "iso": iso, "ago": ago, "short": short, "hexed": hexed, "grouped": grouped, "share": share,
    "spaced": spaced, "span": spell_span, "line": line, "shown": shown,
}  # fmt: skip
