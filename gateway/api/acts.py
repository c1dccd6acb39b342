"""POST /api/approvals/{generation}/...: what people do to a held answer. Each takes the password again, a decision that or a
passkey; what is about a content names it in If-Match, so that nobody decides on another text than the one that was looked at.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final
from uuid import UUID

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.api import act_forms, documents, forms
from gateway.api.answering import answer
from gateway.api.approvals import case_answer
from gateway.api.asking import Stale, body, content_looked_at, query
from gateway.api.reading import NOTHING, Gone
from gateway.api.visit import Forbidden, Visit, visit
from gateway.approvals.case import Case
from gateway.approvals.choices import Approve, BreakGlass, Choice, NotDecided, Reject, TestResult
from gateway.authenticate import Subject
from gateway.errors import BadRequest, GatewayError, NotHere
from gateway.house import House
from gateway.people.person import Signer
from gateway.recall import Unreadable

EDIT_LIMIT: Final = 32 * 1024 * 1024
"""Bytes of a body that holds 4 MiB of text, however its JSON is spelled."""
BODY_LIMIT: Final = 1024 * 1024


class NotNow(GatewayError):
    """The answer does not stand so that this could be done."""

    status = 409
    kind = "invalid_request_error"


@post("/approvals/{generation:uuid}/decision", status_code=200, request_max_body_size=BODY_LIMIT)
async def decide(request: Request[Any, Any, Any], house: NamedDependency[House], generation: FromPath[UUID]) -> Response[bytes]:
    """Approve, reject, or break the glass."""
    who, looked_at, asked = await _asked(request, house, act_forms.Decision)
    signer = await _signer(who, asked)
    return await _done(house.approvals.decide(who.tenant, generation, _choice(asked, looked_at), signer))


@post("/approvals/{generation:uuid}/edit", status_code=200, request_max_body_size=EDIT_LIMIT)
async def edit(request: Request[Any, Any, Any], house: NamedDependency[House], generation: FromPath[UUID]) -> Response[bytes]:
    """Put another text in the place of the answer."""
    who, looked_at, asked = await _asked(request, house, act_forms.Edit)
    person = await who.proved(asked.password)
    return await _done(house.approvals.edit(who.tenant, generation, asked.text, asked.reason, person, looked_at))


@post("/approvals/{generation:uuid}/results", status_code=200, request_max_body_size=BODY_LIMIT)
async def attach_result(
    request: Request[Any, Any, Any], house: NamedDependency[House], generation: FromPath[UUID]
) -> Response[bytes]:
    """Put a test result beside the content."""
    who, looked_at, asked = await _asked(request, house, act_forms.Result)
    person = await who.proved(asked.password)
    result = TestResult(looked_at, asked.name, asked.passed, asked.detail)
    return await _done(house.approvals.attach_result(who.tenant, generation, result, person))


@post("/approvals/{generation:uuid}/revoke", status_code=200, request_max_body_size=BODY_LIMIT)
async def revoke(request: Request[Any, Any, Any], house: NamedDependency[House], generation: FromPath[UUID]) -> Response[bytes]:
    """Take an own decision back."""
    who, asked = await _reasoned(request, house)
    person = await who.proved(asked.password)
    return await _done(house.approvals.revoke(who.tenant, generation, asked.reason, person))


@post("/approvals/{generation:uuid}/recall", status_code=200, request_max_body_size=BODY_LIMIT)
async def recall(request: Request[Any, Any, Any], house: NamedDependency[House], generation: FromPath[UUID]) -> Response[bytes]:
    """Say of an answer that has left that it should not have."""
    return await _look_back(request, house, generation, "recall")


@post("/approvals/{generation:uuid}/review", status_code=200, request_max_body_size=BODY_LIMIT)
async def review(request: Request[Any, Any, Any], house: NamedDependency[House], generation: FromPath[UUID]) -> Response[bytes]:
    """Look at a broken glass, as another than who broke it."""
    return await _look_back(request, house, generation, "review")


@post("/approvals/{generation:uuid}/cancel", status_code=200, request_max_body_size=BODY_LIMIT)
async def cancel(request: Request[Any, Any, Any], house: NamedDependency[House], generation: FromPath[UUID]) -> Response[bytes]:
    """Give the answer up: a person by password, a key what it asked for itself."""
    who = await visit(request, house)
    query(request, forms.NoQuery)
    asked = await body(request, act_forms.Cancelling)
    if isinstance(who.who, Subject):
        found = await _taken(house.approvals.cancel(who.tenant, generation, who.who))
        return answer(documents.case_state(found))
    if asked.password is None:
        raise BadRequest("a person cancels by giving the password", param="password")
    return await _done(house.approvals.cancel(who.tenant, generation, await who.proved(asked.password)))


async def _look_back(request: Request[Any, Any, Any], house: House, generation: UUID, act: str) -> Response[bytes]:
    who, asked = await _reasoned(request, house)
    person = await who.proved(asked.password)
    return await _done(house.approvals.after_release(who.tenant, generation, act, asked.reason, person))


async def _reasoned(request: Request[Any, Any, Any], house: House) -> tuple[Visit, act_forms.WithReason]:
    who = await visit(request, house)
    query(request, forms.NoQuery)
    return who, await body(request, act_forms.WithReason)


async def _asked(request: Request[Any, Any, Any], house: House, form: type[Any]) -> tuple[Visit, bytes, Any]:
    """Who asks, the content that was looked at, and what is asked."""
    who = await visit(request, house)
    if isinstance(who.who, Subject):
        raise Forbidden("this takes a person's password: sign in, an API key does not do")
    query(request, forms.NoQuery)
    return who, content_looked_at(request), await body(request, form)


async def _signer(who: Visit, asked: act_forms.Decision) -> Signer:
    """Who signs: by the password, or by a passkey that signed the binding that is named. Raises BadRequest."""
    if asked.passkey is None and asked.password is not None:
        return await who.proved(asked.password)
    if asked.passkey is None or asked.password is not None or asked.binding is None:
        raise BadRequest("sign with the password, or with a passkey and the binding that it signed", param="password")
    return await who.asserted(asked.passkey, bytes.fromhex(asked.binding))


def _choice(asked: act_forms.Decision, looked_at: bytes) -> Choice:
    binding = None if asked.binding is None else bytes.fromhex(asked.binding)
    looked = asked.seconds_looked
    lacks = {"reject": "reason_code", "break_glass": "reason"}.get(asked.decision)
    if lacks is not None and not getattr(asked, lacks).strip():
        raise BadRequest(f"to {asked.decision} takes a {lacks}", param=lacks)
    match asked.decision:
        case "approve":
            return Approve(looked_at, asked.meaning or "approval", asked.reason, asked.on_behalf_of, looked, binding)
        case "reject":
            meaning = asked.meaning or "review"
            return Reject(looked_at, asked.reason_code, asked.reason, meaning, asked.on_behalf_of, looked, binding)
        case "break_glass":
            return BreakGlass(looked_at, asked.reason, asked.meaning or "responsibility", looked, binding)


async def _done(work: Awaitable[Case | NotDecided]) -> Response[bytes]:
    return case_answer(await _taken(work))


async def _taken(work: Awaitable[Case | NotDecided]) -> Case:
    """The case after the act. Raises what an API says of one that was not done."""
    try:
        found = await work
    except Unreadable as error:
        raise Gone(error.message) from error
    if isinstance(found, NotDecided):
        raise refusal(found)
    return found


def refusal(found: NotDecided) -> GatewayError:
    """What an API says of an act that was not done."""
    match found.code:
        case "unknown":
            return NotHere(NOTHING)
        case "stale_content" | "stale_binding":
            return Stale(found.message, code=found.code)
        case "excluded" | "not_permitted":
            return Forbidden(found.message, code=found.code)
        case _:
            return NotNow(found.message, code=found.code)
