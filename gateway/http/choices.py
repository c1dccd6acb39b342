"""The straight line (DESIGN 2) for OpenAI's two older dialects, whose responses hold one answer or several.

Each answer is a generation of its own, with its own admission and records; the first has the request's own id. If one cannot be
admitted, or fails, the others are told to stop: a response is whole or an error.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from litestar import Request, Response

from audit.header import uuid7
from gateway.authenticate import Subject, authenticate
from gateway.calls import AnswerReader
from gateway.dialects.knob import Beside
from gateway.dialects.openai_choice import Choice
from gateway.dialects.openai_reply import ALIVE, Envelope
from gateway.dialects.reading import reader_of
from gateway.dialects.request import ChatRequest, Delivery
from gateway.errors import Deferred, EngineDown, Withheld
from gateway.house import House
from gateway.http import line
from gateway.http.keep_alive import kept_alive
from gateway.http.leaving import EventStream, collected
from gateway.http.merging import merged
from gateway.http.sources import Source, source_of
from gateway.pieces import Ended, Failed, Piece, Text


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a response: where it comes from, how its text is read, and how it is told."""

    source: Source
    reader: AnswerReader
    choice: Choice


@dataclass(frozen=True, slots=True)
class Wire:
    """What the two dialects differ in."""

    decode: Callable[[bytes, Beside], ChatRequest]
    choice: type[Choice]
    envelope: type[Envelope]


async def respond(wire: Wire, request: Request[Any, Any, Any], house: House) -> Response[Any]:
    """Answer a request, as a document or as server-sent events."""
    subject = await authenticate(house.keyring, request.headers)
    asked, answers = await _begun(wire, request, house, subject)
    first = answers[0].source
    wants_usage = asked.delivery is Delivery.STREAM_WITH_USAGE
    envelope = wire.envelope(first.about.generation, first.about.model, int(time.time()), wants_usage)
    pieces = merged([line.pieces_of(house, answer.source, subject.tenant, asked) for answer in answers])
    headers = first.about.headers
    leave = partial(_leave, answers)
    # An answer that never begins is an error with a status of its own, also for a client that asked for a stream.
    up = [await answer.source.begun() for answer in answers]
    if not all(up) or asked.delivery is Delivery.WHOLE:
        body = await collected(request, leave, _document(envelope, answers, pieces))
        ours = line.OURS if any(isinstance(answer.choice.account, Withheld) for answer in answers) else {}
        return Response(body, media_type="application/json", headers=headers | ours)
    return EventStream(kept_alive(_events(envelope, answers, pieces), lambda: ALIVE), leave, headers)


async def _begun(
    wire: Wire, request: Request[Any, Any, Any], house: House, subject: Subject
) -> tuple[ChatRequest, list[Answer]]:
    """Decode, admit and begin every answer. Raises what admission raises, and then none goes on."""
    async with line.refusals_on_record(request, house, subject):
        asked = await line.decoded(request, lambda body: wire.decode(body, line.beside(request)))
        source = await source_of(request, house, subject, asked)
    answers = [_answer(wire, house, asked, source)]
    try:
        for index in range(1, asked.n):
            own, another = uuid7(), replace(asked, index=index)
            async with line.refusals_on_record(request, house, subject, own):
                source = await source_of(request, house, subject, another, own)
            answers.append(_answer(wire, house, another, source))
    except BaseException:
        _leave(answers)
        raise
    return asked, answers


def _answer(wire: Wire, house: House, asked: ChatRequest, source: Source) -> Answer:
    known = source.about
    about = {"generation_id": str(known.generation), "mode": known.mode, "policy": known.policy}
    choice = wire.choice(asked.index, known.prompt_tokens, about, asked.top_logprobs is not None)
    reader = reader_of(house.intake.model, source.read_by(asked.prompt), f"call_{known.generation.hex}_")
    return Answer(source, reader, choice)


async def _events(
    envelope: Envelope, answers: Sequence[Answer], pieces: AsyncIterator[tuple[int, Piece]]
) -> AsyncIterator[bytes]:
    """The stream: of every answer its opening, its parts and its closing; then the trailer, or an error."""
    for answer in answers:
        yield envelope.opening(answer.choice)
    async for place, piece in pieces:
        reader, choice = answers[place].reader, answers[place].choice
        scores = piece.scores if isinstance(piece, Text) else ()
        for part in reader.read(piece.text) if isinstance(piece, Text) else reader.end():
            yield envelope.delta(choice, part, scores)
            scores = ()
        match piece:
            case Text():
                choice.hold(scores)
            case Ended(account):
                choice.end(account)
                yield envelope.closing(choice)
            case Failed(Withheld() as error):
                choice.end(error)
                yield envelope.closing(choice)
            case Failed(error):
                yield envelope.failure(error)
                return
    yield envelope.trailer([answer.choice for answer in answers])


async def _document(envelope: Envelope, answers: Sequence[Answer], pieces: AsyncIterator[tuple[int, Piece]]) -> bytes:
    """The whole response. Raises the error that ended one of its answers."""
    async for place, piece in pieces:
        reader, choice = answers[place].reader, answers[place].choice
        for part in reader.read(piece.text) if isinstance(piece, Text) else reader.end():
            choice.take(part)
        match piece:
            case Text(scores=scores):
                choice.hold(scores)
            case Ended(account):
                choice.end(account)
            case Failed(Deferred() as error):
                raise error
            case Failed(Withheld() as error):
                choice.end(error)
            case Failed(error):
                raise error
    if any(answer.choice.account is None for answer in answers):
        raise EngineDown("the answer ended without an end")
    return envelope.document([answer.choice for answer in answers])


def _leave(answers: Sequence[Answer]) -> None:
    for answer in answers:
        answer.source.leave()
