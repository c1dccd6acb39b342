"""GET /api/generations/{generation}/live: what the model drafts, while it drafts it, for people who may read content.

Server-sent events, one for each block, round of speculation and run of tokens, in the order of the log, then one `end`. They
come from committed records alone, of whichever process makes them, and each reading is on record (kind 47) before it is told.
Nothing here has been released: what the client of the model gets is another matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from audit.blocks import BlockTrace
from audit.errors import AuditError
from audit.header import decode_header
from audit.records import Body, DecodeRun, Kind, RequestAbandoned, RequestClose, SpecRounds
from gateway.api import documents, forms
from gateway.api.asking import query
from gateway.api.following import followed, place_of, streamed
from gateway.api.reading import NOTHING, Gone, Opened, opened, require_readable
from gateway.api.visit import Visit, visit
from gateway.errors import NotHere
from gateway.house import House
from gateway.people.duties import READS_CONTENT

LOOK_SECONDS: Final = 0.3
_WHAT: Final = "follow its drafts as they are made"
_ENDS: Final = (Kind.REQUEST_CLOSE, Kind.REQUEST_ABANDONED)
_log = structlog.get_logger(__name__)


@get("/generations/{generation:uuid}/live")
async def live(request: Request[Any, Any, Any], house: NamedDependency[House], generation: FromPath[UUID]) -> Response[Any]:
    """Every draft from the first on, or from the one after `Last-Event-ID`, until the request is closed; then 204."""
    who = await visit(request, house)
    who.person(*READS_CONTENT)
    query(request, forms.NoQuery)
    given, closed = place_of(request), await asyncio.to_thread(_closed, who, generation)
    since = -1 if given is None else given
    if closed is not None and closed <= since:
        return Response(None, status_code=204)  # which tells a browser not to come again
    await require_readable(who, generation, since + 1)  # a stream that only ended would be asked for again and again
    return streamed(followed(request, house, READS_CONTENT, _news(who, generation, since)))


async def _news(who: Visit, generation: UUID, since: int) -> AsyncIterator[bytes]:
    """What was recorded after `since`, look by look, until the end of the request."""
    yield b"retry: 2000\n: drafts, none of them released\n\n"
    while True:
        try:
            found = await opened(who, generation, _WHAT, since + 1)
        except NotHere:
            yield b""
        except (Gone, AuditError) as error:
            _log.warning("live.ended", generation=str(generation), error=type(error).__name__)
            return
        else:
            since = found.records[-1][0].seq
            yield b"".join(_told(who.house, found))
            if any(header.kind in _ENDS for header, _ in found.records):
                return
        await asyncio.sleep(LOOK_SECONDS)


def _closed(who: Visit, generation: UUID) -> int | None:
    """The record that closed the request, if one has; -1, which is before all, for a request that nothing is drafted for.

    Raises NotHere where there is no such request.
    """
    with who.house.readers.tenant(who.tenant) as reader:
        headers = [decode_header(raw) for raw in reader.request_headers(generation)]
    if not headers:
        raise NotHere(NOTHING)
    if headers[0].kind != Kind.REQUEST_OPEN:  # refused before it ran, or answered by an earlier generation
        return -1
    return next((header.seq for header in headers if header.kind in _ENDS), None)


def _told(house: House, found: Opened) -> Iterator[bytes]:
    for header, body in found.records:
        drafts = list(_drafts(house, header.seq, body))
        for place, (name, document) in enumerate(drafts, 1):
            # Whoever goes on after a record has heard all of it.
            whole = f"id: {header.seq}\n" if place == len(drafts) else ""
            yield f"{whole}event: {name}\ndata: ".encode() + msgspec.json.encode(document) + b"\n\n"


def _drafts(house: House, seq: int, body: Body) -> Iterator[tuple[str, msgspec.Struct]]:
    """What a record tells of output, if it does."""
    text = house.intake.model.tokenizer.decode
    match body:
        case BlockTrace():
            yield "block", documents.block(seq, body, text)
        case SpecRounds():
            yield from (("round", documents.round_of(seq, each, text)) for each in body.rounds)
        case DecodeRun():
            yield "run", documents.run(seq, body, text)
        case RequestClose():
            yield "end", forms.End(seq, body.reason)
        case RequestAbandoned():
            yield "end", forms.End(seq, "abandoned")
        case _:
            pass
