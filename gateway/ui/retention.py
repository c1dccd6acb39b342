"""/retention: how long content lives. Erasure, legal holds, the rule; each is recorded before it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from gateway.errors import BadRequest
from gateway.export_shelf import ExportShelf
from gateway.house import House
from gateway.people.duties import CONTENT
from gateway.people.names import Role
from gateway.registry import require_subject
from gateway.ui.failures import sentence
from gateway.ui.forms import Fields, fields_of
from gateway.ui.rendering import page
from gateway.ui.signing import REFUSALS, signed, warranted
from gateway.ui.visitor import Looking, Visitor, only

_SEEN_BY: Final = only(Role.AUDITOR, Role.OPERATOR)
_ASKED_BY: Final = only(Role.OPERATOR)
MOST_DAYS: Final = 36_525


@get("/retention", opt=_SEEN_BY)
async def retention(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[str]:
    """The rule, the holds that stand, what was erased and retired, and the forms that change any of it."""
    return await _shown(request, house, visitor)


@post("/retention/erase", opt=_ASKED_BY)
async def erase(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """Destroy the keys of one subject; exports that lie here and hold its content go with them."""

    async def act(asked: Fields) -> str:
        warrant = await warranted(house, visitor, asked, CONTENT)
        await house.lifecycle.erase(visitor.tenant, _subject(asked) or "", warrant)
        await asyncio.to_thread(ExportShelf.of(house).drop_disclosed, visitor.tenant)
        return "erased"

    return await _done(request, house, visitor, act)


@post("/retention/hold", opt=_SEEN_BY)
async def place_hold(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """Forbid erasure and retirement until the hold is released."""

    async def act(asked: Fields) -> str:
        person = await signed(house, visitor, asked, CONTENT.asks | CONTENT.agrees)
        reason = asked.text("reason", 2000).strip()
        if not reason:
            raise BadRequest("say why: the reason is recorded", param="reason")
        if (subject := _subject(asked)) is not None:
            await asyncio.to_thread(require_subject, house.registry, house.keys, visitor.tenant, subject)
        await house.lifecycle.place_hold(visitor.tenant, subject, reason, person.on_record)
        return "hold-placed"

    return await _done(request, house, visitor, act)


@post("/retention/release", opt=_ASKED_BY)
async def release_hold(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """End a hold."""

    async def act(asked: Fields) -> str:
        warrant = await warranted(house, visitor, asked, CONTENT)
        await house.lifecycle.release_hold(visitor.tenant, asked.identity("hold"), warrant)
        return "hold-released"

    return await _done(request, house, visitor, act)


@post("/retention/rule", opt=_ASKED_BY)
async def set_rule(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """Say how long bodies are kept."""

    async def act(asked: Fields) -> str:
        days = asked.whole("days", 1, MOST_DAYS)
        warrant = await warranted(house, visitor, asked, CONTENT)
        await house.lifecycle.set_rule(visitor.tenant, days, warrant)
        return "rule-set"

    return await _done(request, house, visitor, act)


@post("/retention/retire", opt=_ASKED_BY)
async def retire(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """Carry out the rule, on which two people agreed; nobody is asked again."""

    async def act(_: Fields) -> str:
        done = await house.lifecycle.retire(visitor.tenant, visitor.person.on_record)
        if done is not None:
            await asyncio.to_thread(ExportShelf.of(house).drop_disclosed, visitor.tenant)
        return "nothing-old" if done is None else "retired"

    return await _done(request, house, visitor, act)


async def _done(
    request: Request[Any, Any, Any], house: House, visitor: Visitor, act: Callable[[Fields], Awaitable[str]]
) -> Response[Any]:
    """Do it, then show the page anew; what is refused is said where it was asked."""
    asked = await fields_of(request)
    try:
        notice = await act(asked)
    except REFUSALS as error:
        return await _shown(request, house, visitor, asked, sentence(error))
    return Redirect(f"/retention?done={notice}", status_code=303)


async def _shown(
    request: Request[Any, Any, Any], house: House, visitor: Visitor, asked: Fields | None = None, refusal: str = ""
) -> Response[str]:
    standing = await house.lifecycle.standing(visitor.tenant)
    erasures = [(seq, list(standing.erased.values()).count(seq)) for seq in sorted(set(standing.erased.values()), reverse=True)]
    return page(
        request, "retention.html", 409 if refusal else 200, standing=standing, holds=list(standing.holds.values()),
        erasures=erasures, refusal=refusal, asked=asked or Fields({}), may_ask=visitor.may(Role.OPERATOR),
    )  # fmt: skip


def _subject(asked: Fields) -> str | None:
    return asked.text("subject", 256).strip() or None
