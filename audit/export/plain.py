"""Values of records in the words of text formats: plain JSON, times, and text that shows what it holds."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_TS = 253_402_300_799_999_999
"""The end of the year 9999, the last that calendars of Python and of most readers know."""
_BIDI = {0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_UNSEEN = (set(range(0x20)) - {0x9, 0xA}) | set(range(0x7F, 0xA0)) | _BIDI | {0x2028, 0x2029, 0xFEFF}
_SHOWN = {code: f"\N{MATHEMATICAL LEFT ANGLE BRACKET}U+{code:04X}\N{MATHEMATICAL RIGHT ANGLE BRACKET}" for code in _UNSEEN}


def plain(value: Any) -> Any:
    """A record body as JSON has it: bytes in hex, ids as text, planes as lists, floats that JSON lacks as text."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def stamp(ts: int) -> str:
    """RFC 3339 of microseconds since 1970 UTC; a time that no calendar here holds becomes the last that one does."""
    moment = _EPOCH + timedelta(microseconds=min(ts, _LAST_TS))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"


def visible(text: str, most: int) -> str:
    """At most `most` characters, in which what would act on a page instead of showing on it is spelled out.

    Control characters and those that reorder text become their code points; lone surrogates, which no file can hold,
    question marks.
    """
    cut = text[:most] + (f" [{len(text) - most} more characters]" if len(text) > most else "")
    return cut.encode("utf-8", "replace").decode().translate(_SHOWN)
