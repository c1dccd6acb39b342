"""What all feeds of this API have in common: server-sent events that go on until there is no more, or the session has ended."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from litestar import Request
from litestar.response import Stream

from gateway.api.visit import still_in
from gateway.errors import BadRequest
from gateway.house import House
from gateway.people.names import Role

BEAT_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 30.0
"""How often it is asked again whether the session still holds."""
_PLACE: Final = re.compile("-1|[0-9]{1,18}")
"""-1 is the place before the first record."""
_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}


def streamed(events: AsyncIterator[bytes]) -> Stream:
    """The answer that has these events."""
    return Stream(events, media_type="text/event-stream", headers=_HEADERS)


def place_of(request: Request[Any, Any, Any]) -> int | None:
    """The place after which a client that returns goes on. Raises BadRequest."""
    given = request.headers.get("last-event-id", "").strip()
    if not given:
        return None
    if not _PLACE.fullmatch(given):
        raise BadRequest("Last-Event-ID is no number of a record")
    return int(given)


async def followed(
    request: Request[Any, Any, Any], house: House, roles: tuple[Role, ...], news: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """What `news` finds at each look, empty for nothing, until it or the session ends, or this gateway leaves."""
    told = asked = time.monotonic()
    async for found in news:
        now = time.monotonic()
        if found:
            told = now
            yield found
        elif now - told >= BEAT_SECONDS:
            told = now
            yield b": here\n\n"
        if now - asked >= AGAIN_SECONDS:
            asked = now
            if not await still_in(request, house, roles):
                return
        if house.leaving():
            return
