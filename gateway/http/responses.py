"""POST /v1/responses: the straight line (DESIGN 2) in the responses dialect; and its answers again, from their records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from audit.approvals import ApprovalOpened
from gateway.authenticate import Subject, authenticate
from gateway.background import Running
from gateway.calls import Part
from gateway.dialects.reading import parts
from gateway.dialects.request import Delivery, Dialect
from gateway.dialects.responses.decode import chat_of, read
from gateway.dialects.responses.document import Head, Status, generation_of, generation_of_item, response_id
from gateway.dialects.responses.failures import body_of, status_of
from gateway.dialects.responses.narrator import Narrator, Told
from gateway.dialects.responses.retold import conversation, head_of, output, reader_for, retold
from gateway.dialects.responses.turns import items_of
from gateway.dialects.responses.wire import REFERENCE, Body, Item
from gateway.errors import BadRequest, Deferred, EngineDown, GatewayError, NotHere, Withheld, told_once
from gateway.house import House
from gateway.http import failures, line
from gateway.http.identity import request_id
from gateway.http.keep_alive import kept_alive
from gateway.http.leaving import EventStream, collected
from gateway.http.sources import Earlier, Own, source_of
from gateway.pieces import Ended, Failed, Held
from gateway.recall import Ending, Recalled

T = TypeVar("T")
CANCEL_LOOKS: Final = 40
CANCEL_LOOK_SECONDS: Final = 0.25
TOKEN_LINE: Final = 64
"""Characters that telling a token of an answer again is worth."""


def _of_gateway(_: Request[Any, Any, Any], error: GatewayError) -> Response[bytes]:
    return Response(body_of(error), status_code=status_of(error), media_type=failures.JSON, headers=told_once(error))


HANDLERS: dict[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[Any]]] = {
    **failures.HANDLERS,
    GatewayError: _of_gateway,
}


@post("/v1/responses", status_code=200, request_max_body_size=line.BODY_LIMIT, exception_handlers=HANDLERS)
async def create_response(request: Request[Any, Any, Any], house: NamedDependency[House]) -> Response[Any]:
    """Answer a conversation: as a document, as server-sent events, or in the background."""
    subject = await authenticate(house.keyring, request.headers)
    async with line.refusals_on_record(request, house, subject):
        body = await line.decoded(request, read)
        earlier = await _earlier(house, subject, body.previous_response_id)
        referred = await _dereferenced(house, subject, body, earlier)
        size = line.BIG if earlier or referred else len(await request.body())  # what was said earlier may be of any length
        chat = await line.read_aside(size, lambda: chat_of(body, earlier, line.beside(request)))
        source = await source_of(request, house, subject, chat)
    about, begun = source.about, await source.begun()
    head = Head(about.generation, about.mode, about.policy, body, about.constrained, source.read_by(chat.prompt))
    if begun and body.background and isinstance(source, Own):
        running = house.background.begin(source.generation, head, line.proved(house, source.made(), subject.tenant, chat))
        if body.stream:
            return _reading(house, running, source.request, -1, about.headers)
        return _document(head.response(Status.QUEUED, []), about.headers)
    told = parts(reader_for(house.intake.model, head), line.pieces_of(house, source, subject.tenant, chat))
    if body.background and not body.stream and isinstance(source, Earlier) and await source.is_stored_response():
        working = source.found.ending is Ending.NONE
        document = head.response(Status.QUEUED, []) if working else await _standing(Narrator(head), told)
        return _document(document, about.headers)
    # An answer that never begins is an error with a status of its own, also for a client that asked for a stream.
    if not begun or not body.stream:
        whole = await collected(request, source.leave, _whole(Narrator(head), told))
        return Response(whole, media_type=failures.JSON, headers=about.headers)
    narrator = Narrator(head)
    return EventStream(kept_alive(_after(-1, _told(narrator, told)), narrator.beat), source.leave, about.headers)


@get("/v1/responses/{response:str}", exception_handlers=HANDLERS)
async def show_response(
    request: Request[Any, Any, Any],
    house: NamedDependency[House],
    response: FromPath[str],
    stream: FromQuery[bool] = False,
    starting_after: FromQuery[int] = -1,
) -> Response[Any]:
    """A stored response as it stands now; with `stream` its events, from the one after `starting_after` on."""
    subject = await authenticate(house.keyring, request.headers)
    running, own = _running(house, subject, response), request_id(request.scope)
    if running is not None:
        return (
            _reading(house, running, own, starting_after, {})
            if stream
            else _document(running.head.response(Status.IN_PROGRESS, []), {})
        )
    head, recalled = await _recalled(house, subject, response)
    narrator = Narrator(head)
    if stream and recalled.held is not None:
        told = _of_held(house, subject.tenant, head, recalled.held, own, Delivery.STREAM)
        return _stream(_after(starting_after, _told(narrator, told)), narrator, {})
    if stream and recalled.ending is not Ending.NONE:
        events = await _retold(house, narrator, recalled)
        return _stream(_after(starting_after, _at_once(events)), narrator, {})
    if stream:
        message = f"response {response!r} is still streamed on another connection: ask again when it has ended"
        raise BadRequest(message, code="response_in_progress")
    return _document(await _as_it_stands(house, subject.tenant, head, recalled, own), {})


@post("/v1/responses/{response:str}/cancel", status_code=200, exception_handlers=HANDLERS)
async def cancel_response(
    request: Request[Any, Any, Any], house: NamedDependency[House], response: FromPath[str]
) -> Response[bytes]:
    """Stop the work on a response in the background, or give up one that people have not let go; any other stays as it is."""
    subject = await authenticate(house.keyring, request.headers)
    running = _running(house, subject, response)
    if running is not None:
        await running.cancel()
    head, recalled = await _recalled(house, subject, response)
    if recalled.ending is Ending.NONE and head.body.background:
        head, recalled = await _cancelled_elsewhere(house, subject, response, head)
    if recalled.ending is Ending.NONE:
        raise BadRequest("only a response in the background can be cancelled", code="not_cancellable")
    if recalled.ending is Ending.HELD:
        await house.approvals.cancel(subject.tenant, head.generation, subject)
    return _document(await _as_it_stands(house, subject.tenant, head, recalled, request_id(request.scope)), {})


def _running(house: House, subject: Subject, response: str) -> Running[Head] | None:
    """A response of this caller that is being made here."""
    generation = generation_of(response)
    found = None if generation is None else house.background.find(subject.tenant, generation)
    return found if found is not None and found.generation.admitted.caller == subject.caller else None


async def _cancelled_elsewhere(house: House, subject: Subject, response: str, head: Head) -> tuple[Head, Recalled]:
    """The response when the process that works on it has ended it, which is told again and again for that long."""
    for _ in range(CANCEL_LOOKS):
        await house.cancelling.tell(subject.tenant, head.generation)
        await asyncio.sleep(CANCEL_LOOK_SECONDS)
        head, recalled = await _recalled(house, subject, response)
        if recalled.ending is not Ending.NONE:
            return head, recalled
    message = f"the gateway process that works on response {response!r} does not answer: ask again later"
    raise BadRequest(message, code="not_cancellable")


async def _recalled(house: House, subject: Subject, response: str) -> tuple[Head, Recalled]:
    """A stored response of this caller: ids are in the log that all of a tenant may read. Raises NotHere."""
    generation = generation_of(response)
    found = None if generation is None else await house.recall.find(subject.tenant, generation)
    if found is not None and found.opening.dialect == Dialect.RESPONSES and found.opening.caller == subject.caller:
        head = await line.read_aside(len(found.asked), lambda: head_of(found))
        if head.body.stored:
            return head, found
    raise NotHere(f"there is no stored response {response!r}")


async def _earlier(house: House, subject: Subject, response: str | None) -> list[Item]:
    """What was said before, if the request goes on from an earlier response. Raises BadRequest when that cannot be."""
    if response is None:
        return []
    param = "previous_response_id"
    try:
        head, found = await _recalled(house, subject, response)
    except NotHere as error:
        raise BadRequest(error.message, code="previous_response_not_found", param=param) from error
    if found.ending is not Ending.ANSWERED:
        raise BadRequest(f"response {response!r} has no whole answer to go on from", code="invalid_request", param=param)
    return await line.read_aside(_length(found), lambda: conversation(house.intake.model, head, found))


async def _dereferenced(house: House, subject: Subject, body: Body, earlier: list[Item]) -> bool:
    """Put the items of stored responses in place of references to them; says whether there were any. Raises BadRequest.

    A record of a request holds all of its input, whatever becomes of the record that an item came from. What was already said,
    in the response that the request goes on from or in the items before, is not said again.
    """
    found: dict[UUID | None, dict[str | None, Item]] = {None: {}}
    said, items = {item.id for item in earlier}, list[Item]()
    for place, item in enumerate(items_of(body.input)):
        if item.type != REFERENCE:
            items.append(item)
        elif item.id is None or item.id not in said:
            generation = None if item.id is None else generation_of_item(item.id)
            if generation is not None and generation not in found:
                found[generation] = await _items(house, subject, generation)
            if item.id not in found[generation]:
                message = f"there is no item {item.id!r} in a stored response: send the item itself"
                raise BadRequest(message, code="item_not_found", param=f"input[{place}].id")
            items.append(found[generation][item.id])
        said.add(item.id)
    body.input = items
    return len(found) > 1


async def _items(house: House, subject: Subject, generation: UUID) -> dict[str | None, Item]:
    """What a stored response of this caller said, by the ids of its items; nothing if there is none."""
    try:
        head, recalled = await _recalled(house, subject, response_id(generation))
    except NotHere:
        return {}
    told = await line.read_aside(_length(recalled), lambda: output(house.intake.model, head, recalled))
    return {item.id: item for item in told}


def _document(document: dict[str, Any], headers: dict[str, str]) -> Response[bytes]:
    return Response(msgspec.json.encode(document), media_type=failures.JSON, headers=headers)


async def _as_it_stands(house: House, tenant: str, head: Head, recalled: Recalled, own: UUID) -> dict[str, Any]:
    """The document of a stored response that nobody works for here; of a held one that was let go, this is a delivery."""
    narrator = Narrator(head)
    if recalled.held is not None:
        return await _standing(narrator, _of_held(house, tenant, head, recalled.held, own, Delivery.WHOLE))
    if recalled.ending is Ending.NONE:
        return head.response(Status.IN_PROGRESS, [])
    await _retold(house, narrator, recalled)
    return narrator.response


async def _retold(house: House, narrator: Narrator, recalled: Recalled) -> list[Told]:
    """All events of a response that has ended; made beside the event loop when its answer is long."""
    return await line.read_aside(_length(recalled), lambda: retold(house.intake.model, narrator, recalled))


def _length(recalled: Recalled) -> int:
    """Characters of what a request asked and got, a token with its scores for a line of them."""
    return len(recalled.asked) + len(recalled.text) + TOKEN_LINE * len(recalled.scores)


def _of_held(
    house: House, tenant: str, head: Head, opened: ApprovalOpened, own: UUID, delivery: Delivery
) -> AsyncIterator[Part | Ended | Failed]:
    """A held response for the client of request `own`, as far as people let it go."""
    held = Held(tenant, head.generation, opened)
    pieces = house.handover.pieces(_at_once(held), own, delivery)
    return parts(reader_for(house.intake.model, head), pieces)


def _reading(house: House, running: Running[Head], own: UUID, after: int, headers: dict[str, str]) -> Response[Any]:
    """The events of a response that is being made; the work goes on when this reader leaves."""
    narrator = Narrator(running.head)
    pieces = house.handover.pieces(running.transcript.pieces(), own, Delivery.STREAM)
    told = parts(reader_for(house.intake.model, running.head), pieces)
    return _stream(_after(after, _told(narrator, told, lambda: running.cancelled)), narrator, headers)


def _stream(events: AsyncIterator[bytes], narrator: Narrator, headers: dict[str, str]) -> Response[Any]:
    return EventStream(kept_alive(events, narrator.beat), lambda: None, headers)


async def _told(
    narrator: Narrator, told: AsyncIterator[Part | Ended | Failed], cancelled: Callable[[], bool] = lambda: False
) -> AsyncIterator[list[Told]]:
    yield narrator.opening()
    async for part in told:
        match part:
            case Ended(account):
                yield narrator.closing(account)
            case Failed() if cancelled():
                yield narrator.cancelling()
            case Failed(error):
                yield narrator.failing(error)
            case _:
                yield narrator.tell(part)


async def _at_once(one: T) -> AsyncIterator[T]:
    yield one


async def _after(number: int, told: AsyncIterator[list[Told]]) -> AsyncIterator[bytes]:
    """The bytes of the events after a number."""
    async for together in told:
        data = b"".join(each.data for each in together if each.number > number)
        if data:
            yield data


async def _whole(narrator: Narrator, told: AsyncIterator[Part | Ended | Failed]) -> bytes:
    async for part in told:
        match part:
            case Ended(account):
                narrator.closing(account)
                return msgspec.json.encode(narrator.response)
            case Failed(error):
                raise error
            case _:
                narrator.tell(part)
    raise EngineDown("the answer ended without an end")


async def _standing(narrator: Narrator, told: AsyncIterator[Part | Ended | Failed]) -> dict[str, Any]:
    """The document of a held response as it stands now: waiting, let go or kept."""
    async for part in told:
        match part:
            case Ended(account):
                narrator.closing(account)
            case Failed(Deferred() as error):
                return narrator.head.waiting(error)
            case Failed(Withheld() as error):
                narrator.failing(error)
            case Failed(error):
                raise error
            case _:
                narrator.tell(part)
    return narrator.response
