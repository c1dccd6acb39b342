"""POST /v1/messages and /v1/messages/count_tokens: the straight line (DESIGN 2) in Anthropic's dialect."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import msgspec
import structlog
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException

from audit.errors import AuditError
from gateway import logs
from gateway.authenticate import authenticate
from gateway.calls import Part
from gateway.dialects.messages.decode import counted, decode
from gateway.dialects.messages.failures import body_of, error_body, status_of
from gateway.dialects.messages.reply import PING, MessageReply
from gateway.dialects.prompt import read
from gateway.dialects.reading import answer_reader, parts
from gateway.dialects.request import Delivery
from gateway.errors import Deferred, EngineDown, GatewayError, LogDown, UnknownModel, Withheld, told_once
from gateway.house import House
from gateway.http import line
from gateway.http.failures import JSON, of_framework
from gateway.http.identity import request_id
from gateway.http.keep_alive import kept_alive
from gateway.http.leaving import EventStream, collected
from gateway.http.sources import source_of
from gateway.pieces import Ended, Failed

_log = structlog.get_logger(__name__)


def _of_gateway(request: Request[Any, Any, Any], error: GatewayError) -> Response[bytes]:
    body = body_of(error, request_id(request.scope))
    return Response(body, status_code=status_of(error), media_type=JSON, headers=told_once(error))


def _of_log(request: Request[Any, Any, Any], error: AuditError) -> Response[bytes]:
    logs.unavailable(error)
    return _of_gateway(request, LogDown("the audit log cannot commit, so no request can be served; try again later"))


def _of_anything(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    _log.error("request.failed", exc_info=error)
    body = error_body(500, "internal error; quote the request-id header", request_id(request.scope))
    return Response(body, status_code=500, media_type=JSON)


HANDLERS: dict[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[Any]]] = {
    GatewayError: _of_gateway,
    AuditError: _of_log,
    HTTPException: of_framework,
    Exception: _of_anything,
}


@post("/v1/messages", status_code=200, request_max_body_size=line.BODY_LIMIT, exception_handlers=HANDLERS)
async def messages(request: Request[Any, Any, Any], house: NamedDependency[House]) -> Response[Any]:
    """Answer a conversation, as a document or as server-sent events."""
    subject = await authenticate(house.keyring, request.headers)
    async with line.refusals_on_record(request, house, subject):
        chat = await line.decoded(request, partial(decode, beside=line.beside(request)))
        source = await source_of(request, house, subject, chat)
    about = source.about
    reply = MessageReply(about.generation, about.model, about.prompt_tokens)
    prefix = f"toolu_{about.generation.hex}_"
    reader = answer_reader(house.intake.model, source.read_by(chat.prompt), prefix, constrained=about.constrained)
    told = parts(reader, line.pieces_of(house, source, subject.tenant, chat))
    # An answer that never begins is an error with a status of its own, also for a client that asked for a stream.
    if not await source.begun() or chat.delivery is Delivery.WHOLE:
        body, more = await collected(request, source.leave, _whole(reply, told))
        return Response(body, media_type=JSON, headers=about.headers | more)
    return EventStream(kept_alive(_events(reply, told), lambda: PING), source.leave, about.headers)


@post("/v1/messages/count_tokens", status_code=200, request_max_body_size=line.BODY_LIMIT, exception_handlers=HANDLERS)
async def count_tokens(request: Request[Any, Any, Any], house: NamedDependency[House]) -> Response[bytes]:
    """How many tokens the model would be given; nothing is generated."""
    subject = await authenticate(house.keyring, request.headers)
    async with line.refusals_on_record(request, house, subject):
        asked = await line.decoded(request, partial(counted, beside=line.beside(request)))
        if asked.model != house.intake.model.name:
            raise UnknownModel(f"model {asked.model!r} is not served here; GET /v1/models lists what is", param="model")
        ids = await read(house.intake.model, asked)
    return Response(msgspec.json.encode({"input_tokens": len(ids)}), media_type=JSON)


async def _events(reply: MessageReply, told: AsyncIterator[Part | Ended | Failed]) -> AsyncIterator[bytes]:
    yield reply.opening()
    async for each in told:
        match each:
            case Ended(account):
                yield reply.closing(account)
            case Failed(Withheld() as error):
                yield reply.refusal(error)
            case Failed(error):
                yield reply.failure(error)
            case _:
                data = reply.tell(each)
                if data:
                    yield data


async def _whole(reply: MessageReply, told: AsyncIterator[Part | Ended | Failed]) -> tuple[bytes, dict[str, str]]:
    """The document, and the headers that go with it. Raises the error that ended the answer, or that it has to wait."""
    async for each in told:
        match each:
            case Ended(account):
                return reply.document(account), {}
            case Failed(Deferred() as error):
                raise error
            case Failed(Withheld() as error):
                return reply.refused_document(error), line.OURS
            case Failed(error):
                raise error
            case _:
                reply.tell(each)
    raise EngineDown("the answer ended without an end")
