"""GET /api/approvals/feed: what changes in the queue, as it changes: ids and states, never a text.

Server-sent events. Each has the record that made it as its id, so a client that comes back with `Last-Event-ID` misses nothing;
of several changes of one answer it may hear the last alone. A feed ends with its session, and is no sign of life for it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from litestar import Request, get
from litestar.di import NamedDependency
from litestar.response import Stream

from gateway.api import forms
from gateway.api.asking import query
from gateway.api.visit import READS_FIGURES, Visit, still_in, visit
from gateway.errors import BadRequest
from gateway.house import House
from gateway.projections.bell import LOOK_SECONDS
from gateway.projections.queue import Changed

MEDIA: Final = "text/event-stream"
BEAT_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 30.0
"""How often it is asked again whether the session still holds."""
_PLACE: Final = re.compile("-1|[0-9]{1,18}")
"""-1 is the place before the first record."""
HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}


@get("/approvals/feed")
async def feed(request: Request[Any, Any, Any], house: NamedDependency[House]) -> Stream:
    """Every change from now on, or from the one after `Last-Event-ID`."""
    who = await visit(request, house)
    who.person(*READS_FIGURES)
    query(request, forms.NoQuery)
    since = place_of(request)
    if since is None:
        since = await house.bell.newest(who.tenant)
    return Stream(_events(request, who, since), media_type=MEDIA, headers=HEADERS)


def place_of(request: Request[Any, Any, Any]) -> int | None:
    """The place after which a client that returns goes on. Raises BadRequest."""
    given = request.headers.get("last-event-id", "").strip()
    if not given:
        return None
    if not _PLACE.fullmatch(given):
        raise BadRequest("Last-Event-ID is no number of a record")
    return int(given)


async def _events(request: Request[Any, Any, Any], who: Visit, since: int) -> AsyncIterator[bytes]:
    """What changes after `since`, until the gateway leaves or the session has ended."""
    house = who.house
    yield f"retry: 2000\nid: {since}\n: the queue of {who.tenant}\n\n".encode()
    told = asked = time.monotonic()
    while not house.leaving():
        now = time.monotonic()
        if since < await house.bell.newest(who.tenant):
            for change in await asyncio.to_thread(house.views.queue.changed, who.tenant, since):
                since, told = change.seq, now
                yield _event(change)
        elif now - told >= BEAT_SECONDS:
            told = now
            yield b": here\n\n"
        if now - asked >= AGAIN_SECONDS:
            asked = now
            if not await still_in(request, house, READS_FIGURES):
                return
        await asyncio.sleep(LOOK_SECONDS)


def _event(change: Changed) -> bytes:
    told = forms.Change(change.generation, change.state, change.cycle, change.seq)
    return f"id: {change.seq}\nevent: approval\ndata: ".encode() + msgspec.json.encode(told) + b"\n\n"
