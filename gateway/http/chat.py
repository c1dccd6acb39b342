"""POST /v1/chat/completions: one request, a straight line (DESIGN 2), in OpenAI's dialect.

authenticate -> decode -> admit (recorded) -> generation task -> released pieces -> the client's wire form
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.response import Stream

from audit.errors import AuditError
from gateway.admission import admit, record_refusal
from gateway.authenticate import Subject, authenticate
from gateway.dialects.openai_chat import decode
from gateway.dialects.openai_reply import Envelope
from gateway.dialects.request import ChatRequest, Delivery
from gateway.errors import EngineDown, GatewayError, Refused, Unavailable
from gateway.generation import Admitted, Generation
from gateway.house import House
from gateway.http.identity import request_id
from gateway.pieces import Ended, Piece, Text, joined

BODY_LIMIT: Final = 16 * 1024 * 1024
MODE_HEADER: Final = "x-palimpsest-mode"
STREAM_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}


@post("/v1/chat/completions", status_code=200, request_max_body_size=BODY_LIMIT)
async def chat_completions(request: Request[Any, Any, Any], house: NamedDependency[House]) -> Response[Any]:
    """Answer a chat request, as a document or as server-sent events."""
    subject = await authenticate(house.registry, request.headers)
    chat, admitted = await _admit(request, house, subject)
    generation = house.begin(admitted)
    usage = chat.delivery is Delivery.STREAM_WITH_USAGE
    envelope = Envelope(generation.id, admitted.model, int(time.time()), usage, chat.top_logprobs is not None)
    headers = _headers(admitted)
    pieces = _proven(house, generation) if chat.proof else generation.outlet.pieces()
    # An answer that never begins is an error with a status of its own, also for a client that asked for a stream.
    if not await generation.begun() or chat.delivery is Delivery.WHOLE:
        body = await _collect(request, generation, envelope, pieces)
        return Response(body, media_type="application/json", headers=headers)
    events = _events(generation, envelope, pieces)
    return Stream(events, media_type="text/event-stream", headers=headers | STREAM_HEADERS)


async def _admit(request: Request[Any, Any, Any], house: House, subject: Subject) -> tuple[ChatRequest, Admitted]:
    """Decode and admit; a refusal of any kind is on record before the client hears of it."""
    own = request_id(request.scope)
    try:
        house.require_open()
        chat = decode(await _body(request), request.headers.get(MODE_HEADER))
        with house.seats.held():
            return chat, await admit(house.bench, house.writer, subject, chat, own)
    except Unavailable:
        raise
    except AuditError:
        # Whether the opening records were stored may be unknown; the reconciler looks when the log is back.
        house.reconciler.orphan(subject.tenant, own)
        raise
    except GatewayError as error:
        await record_refusal(house.bench, house.writer, subject, own, error)
        raise


async def _body(request: Request[Any, Any, Any]) -> bytes:
    try:
        return await request.body()
    except RequestEntityTooLarge as error:
        message = f"the body is over {BODY_LIMIT} bytes: send fewer or shorter messages"
        raise Refused(message, status=413, code="body_too_large") from error


async def _proven(house: House, generation: Generation) -> AsyncIterator[Piece]:
    """The pieces, the end with the proof of its record, for which it waits."""
    async for piece in generation.outlet.pieces():
        if isinstance(piece, Ended):
            proof = await house.evidence.proof(generation.admitted.tenant, piece.account.last_seq)
            yield Ended(replace(piece.account, proof=proof))
        else:
            yield piece


async def _events(generation: Generation, envelope: Envelope, pieces: AsyncIterator[Piece]) -> AsyncIterator[bytes]:
    """The stream. When the client goes, the generator is closed and the generation is told."""
    try:
        yield envelope.opening()
        async for piece in pieces:
            if isinstance(piece, Text):
                yield envelope.delta(piece)
            elif isinstance(piece, Ended):
                yield envelope.closing(piece.account)
            else:
                yield envelope.failure(piece.error)
    finally:
        generation.leave()


async def _collect(
    request: Request[Any, Any, Any], generation: Generation, envelope: Envelope, pieces: AsyncIterator[Piece]
) -> bytes:
    """The whole answer, unless the client leaves first. Raises the error that ended the generation."""
    answer = asyncio.ensure_future(_whole(envelope, pieces))
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise EngineDown("the client left before its answer was whole")
        return answer.result()
    finally:
        generation.leave()
        gone.cancel()
        answer.cancel()


async def _whole(envelope: Envelope, pieces: AsyncIterator[Piece]) -> bytes:
    texts: list[Text] = []
    async for piece in pieces:
        if isinstance(piece, Text):
            texts.append(piece)
        elif isinstance(piece, Ended):
            return envelope.document(joined(texts), piece.account)
        else:
            raise piece.error
    raise EngineDown("the answer ended without an end")


async def _disconnected(request: Request[Any, Any, Any]) -> None:
    """Returns when the client has closed the connection; the body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _headers(admitted: Admitted) -> dict[str, str]:
    return {
        "x-palimpsest-generation": str(admitted.request.id),
        "x-palimpsest-mode": admitted.request.mode.value,
        "x-palimpsest-policy": admitted.policy_digest.hex(),
    }
