"""GET /api/approvals/feed: what changes in the queue, as it changes: ids and states, never a text.

Server-sent events. Each has the record that made it as its id, so a client that comes back with `Last-Event-ID` misses nothing;
of several changes of one answer it may hear the last alone. A feed ends with its session, and is no sign of life for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar import Request, get
from litestar.di import NamedDependency
from litestar.response import Stream

from gateway.api import forms
from gateway.api.asking import query
from gateway.api.following import followed, place_of, streamed
from gateway.api.visit import READS_FIGURES, Visit, visit
from gateway.house import House
from gateway.projections.bell import LOOK_SECONDS
from gateway.projections.queue import Changed


@get("/approvals/feed")
async def feed(request: Request[Any, Any, Any], house: NamedDependency[House]) -> Stream:
    """Every change from now on, or from the one after `Last-Event-ID`."""
    who = await visit(request, house)
    who.person(*READS_FIGURES)
    query(request, forms.NoQuery)
    since = place_of(request)
    if since is None:
        since = await house.bell.newest(who.tenant)
    return streamed(followed(request, house, READS_FIGURES, _news(who, since)))


async def _news(who: Visit, since: int) -> AsyncIterator[bytes]:
    """What has changed after `since`, look by look."""
    house = who.house
    yield f"retry: 2000\nid: {since}\n: the queue of {who.tenant}\n\n".encode()
    while True:
        changes = []
        if since < await house.bell.newest(who.tenant):
            changes = await asyncio.to_thread(house.views.queue.changed, who.tenant, since)
        since = changes[-1].seq if changes else since
        yield b"".join(map(_event, changes))
        await asyncio.sleep(LOOK_SECONDS)


def _event(change: Changed) -> bytes:
    told = forms.Change(change.generation, change.state, change.cycle, change.seq)
    return f"id: {change.seq}\nevent: approval\ndata: ".encode() + msgspec.json.encode(told) + b"\n\n"
