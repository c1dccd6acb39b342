"""What the handlers of all dialects have in common: a request's way in, its pieces' way out, and what ends either early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

import structlog
from litestar import Request
from litestar.exceptions import HTTPException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from audit.errors import AuditError
from gateway.admission import admit, record_refusal
from gateway.authenticate import Subject
from gateway.dialects.calling import held_to_choice
from gateway.dialects.knob import KNOB_HEADER, MODE_HEADER, Beside
from gateway.dialects.request import ChatRequest
from gateway.errors import BadRequest, GatewayError, Refused, Unavailable
from gateway.generation import Admitted
from gateway.house import House
from gateway.http.identity import request_id
from gateway.pieces import Ended, Made, Piece

if TYPE_CHECKING:
    from gateway.http.sources import Source

_log = structlog.get_logger(__name__)
T = TypeVar("T")
M = TypeVar("M", bound=Made)
BODY_LIMIT: Final = 16 * 1024 * 1024
SESSION_HEADER: Final = "x-claude-code-session-id"
"""Claude Code's own name for a conversation, in which it asks one question in several ways."""
OURS: Final = {"x-palimpsest-author": "gateway"}
"""Beside a document whose words are not the model's."""
BIG: Final = 64 * 1024
"""Bytes of a body, or characters of its record, from which on it is read beside the event loop."""


@asynccontextmanager
async def refusals_on_record(
    request: Request[Any, Any, Any], house: House, subject: Subject, another: UUID | None = None
) -> AsyncIterator[None]:
    """Whatever is refused inside is on record before the client hears of it; `another`: not under the request's own id."""
    own = another or request_id(request.scope)
    try:
        house.require_open()
        yield
    except Unavailable:
        raise
    except AuditError:
        # Whether the opening records were stored may be unknown; the reconciler looks when the log is back.
        house.reconciler.orphan(subject.tenant, own)
        raise
    except GatewayError as error:
        await record_refusal(house.intake, house.writer, subject, own, error)
        raise
    except HTTPException:
        raise  # of the framework: a client that broke off before its body was there
    except RecursionError as error:
        refused = BadRequest("the body is nested too deeply", code="invalid_json")
        await _defect_on_record(house, subject, own, refused)
        raise refused from error
    except Exception:
        await _defect_on_record(house, subject, own, GatewayError("the gateway failed at this request", code="internal_error"))
        raise


async def _defect_on_record(house: House, subject: Subject, own: UUID, told: GatewayError) -> None:
    """What failed before it was open is a refusal on record; what is open is left to the reconciler. Never raises."""
    house.reconciler.orphan(subject.tenant, own)
    try:
        if await house.recall.find(subject.tenant, own) is None:
            await record_refusal(house.intake, house.writer, subject, own, told)
    except Exception:  # noqa: BLE001 - the client is told of the defect itself
        _log.exception("refusal.unrecorded", request=str(own))


async def decoded(request: Request[Any, Any, Any], decode: Callable[[bytes], T]) -> T:
    """The body, read; beside the event loop when it is big. Raises BadRequest, and Refused for one that is too big."""
    if (coding := request.headers.get("content-encoding", "identity")).strip().lower() != "identity":
        raise BadRequest(f"the body is encoded as {coding!r}: send it as it is", code="unsupported_encoding")
    try:
        body = await request.body()
    except RequestEntityTooLarge as error:
        message = f"the body is over {BODY_LIMIT} bytes: send fewer or shorter messages"
        raise Refused(message, status=413, code="body_too_large") from error
    return await read_aside(len(body), lambda: decode(body))


async def read_aside(size: int, read: Callable[[], T]) -> T:
    """What `read` makes of so many bytes or characters; beside the event loop when they are many. Raises what it raises."""
    return read() if size < BIG else await asyncio.to_thread(read)


def beside(request: Request[Any, Any, Any]) -> Beside:
    """Our own object as far as headers bring it. Raises BadRequest for two of a name that differ."""
    whole = _one(request, KNOB_HEADER)
    return Beside(_one(request, MODE_HEADER), None if whole is None else _utf8(whole))


def _one(request: Request[Any, Any, Any], name: str) -> str | None:
    given = set(request.headers.getall(name, []))
    if len(given) > 1:
        raise BadRequest(f"header {name} comes more than once, and differs: send it once", code="conflict", param=name)
    return next(iter(given), None)


def _utf8(header: str) -> str:
    """What a header's bytes say: JSON is UTF-8, and servers read headers as Latin-1."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


async def admitted(request: Request[Any, Any, Any], house: House, subject: Subject, chat: ChatRequest, own: UUID) -> Admitted:
    """A permitted request whose opening records are durable, with a seat. Raises what admission raises."""
    held = await asyncio.to_thread(held_to_choice, house.intake.model, chat) if chat.tools else chat
    claim = house.attaching.of(subject, held, own, request.headers.get(SESSION_HEADER) or None)
    try:
        with house.seats.held():
            return await admit(house.intake, house.writer, subject, held, own, claim, request_id(request.scope))
    except GatewayError as error:
        await claim.give_up()
        if isinstance(error, BadRequest) and error.code == "invalid_constraint" and held.constraint is not chat.constraint:
            raise BadRequest(error.message, code=error.code, param="tools") from error
        raise
    except BaseException:
        claim.drop()
        raise


def pieces_of(house: House, source: Source, tenant: str, chat: ChatRequest) -> AsyncIterator[Piece]:
    """The pieces for this client, after whatever people have to decide; where a proof is wanted, the end waits for it."""
    return proved(house, house.handover.pieces(source.made(), source.request, chat.delivery), tenant, chat)


async def proved(house: House, pieces: AsyncIterator[M], tenant: str, chat: ChatRequest) -> AsyncIterator[M | Ended]:
    """The pieces; where a proof is wanted the end carries that of its record, for which it waits."""
    async for piece in pieces:
        if isinstance(piece, Ended) and chat.proof:
            found = await _proof(house, tenant, piece.account.last_seq)
            yield Ended(replace(piece.account, proof=found))
        else:
            yield piece


async def _proof(house: House, tenant: str, seq: int) -> Any:
    """The proof of a record; None when the log cannot be read just now: the answer stands without it."""
    try:
        return await house.evidence.proof(tenant, seq)
    except AuditError:
        return None


def headers(generation: UUID, mode: str, policy: bytes, first_seq: int, last_seq: int) -> dict[str, str]:
    """What every answer says about itself before its first byte; the range grows until the answer's own account."""
    return {
        "x-palimpsest-generation": str(generation),
        MODE_HEADER: mode,
        "x-palimpsest-policy": policy.hex(),
        "x-palimpsest-records": f"{first_seq}-{last_seq}",
    }
