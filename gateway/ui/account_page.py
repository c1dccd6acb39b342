"""/account: what the house knows of the person who is signed in; another password, and the right to decide, lent to others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from audit.acts import identity
from audit.approvals import Delegation
from gateway.approvals.choices import Delegate, NotDecided
from gateway.approvals.lending import Term
from gateway.errors import BadRequest
from gateway.house import House
from gateway.people.again import by_password
from gateway.people.ceremonies import place_of
from gateway.people.hashing import Line, in_turn
from gateway.people.names import Role
from gateway.people.passwords import check_new
from gateway.people.proving import NotProved
from gateway.people.two import Unproved
from gateway.people.users import new_password
from gateway.ui.cookies import Jar, Name
from gateway.ui.failures import sentence
from gateway.ui.forms import Fields, fields_of
from gateway.ui.rendering import page
from gateway.ui.signing import REFUSALS, signed
from gateway.ui.visitor import Looking, Visitor, anyone, only

LENDERS: Final = frozenset({Role.APPROVER})


@dataclass(frozen=True, slots=True)
class Lent:
    """A delegation that holds or will, as one of the two sees it."""

    told: Delegation
    mine: bool
    term: Term


@get("/account", opt=anyone())
async def account(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[str]:
    """Name, roles, groups, passkeys, delegations."""
    return await account_shown(request, house, visitor)


@post("/account/password", opt=anyone())
async def change_password(
    request: Request[Any, Any, Any],
    house: NamedDependency[House],
    visitor: Looking,
    jar: NamedDependency[Jar],
) -> Response[Any]:
    """Another password, by whoever has the present one; every session of the person ends."""
    asked, person = await fields_of(request), visitor.person
    proved = await by_password(house.directory.prover, person, asked.text("password"))
    if isinstance(proved, NotProved):
        return await account_shown(request, house, visitor, 403, f"Your present password: {proved}.")
    try:
        new = check_new(asked.text("new_password"), person.name)
        hashed = await in_turn(Line.PEOPLE, partial(house.directory.passwords.hash, new))
        await house.administration.make(person.tenant, proved, new_password(person.tenant, person.name, hashed))
    except REFUSALS as error:
        return await account_shown(request, house, visitor, 409, sentence(error))
    return Redirect("/sign-in?done=password-set", status_code=303, cookies=[jar.gone(Name.SESSION)])


@post("/account/delegations", opt=only(Role.APPROVER))
async def lend(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """Lend the right to decide, for a time."""
    asked = await fields_of(request)
    try:
        by = await signed(house, visitor, asked, LENDERS)
        found = await house.approvals.delegate(visitor.tenant, _delegate(asked), by)
    except Unproved as error:
        return await account_shown(request, house, visitor, 403, sentence(error), asked)
    except BadRequest as error:
        return await account_shown(request, house, visitor, 409, sentence(error), asked)
    if isinstance(found, NotDecided):
        return await account_shown(request, house, visitor, 409, sentence(found.message), asked)
    return Redirect("/account?done=lent", status_code=303)


@post("/account/delegations/end", opt=anyone())
async def take_back(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """End an own delegation before its time; also by somebody who is no approver any more."""
    asked = await fields_of(request)
    by = await by_password(house.directory.prover, visitor.person, asked.text("password"))
    if isinstance(by, NotProved):
        return await account_shown(request, house, visitor, 403, f"Your password: {by}.")
    found = await house.approvals.end_delegation(visitor.tenant, asked.identity("delegation"), by)
    if isinstance(found, NotDecided):
        return await account_shown(request, house, visitor, 409, sentence(found.message))
    return Redirect("/account?done=ended", status_code=303)


async def account_shown(
    request: Request[Any, Any, Any],
    house: House,
    visitor: Visitor,
    status: int = 200,
    refusal: str = "",
    asked: Fields | None = None,
    making: str = "",
) -> Response[str]:
    """The page; `making` is what the browser is to ask an authenticator for, JSON."""
    return page(
        request, "account.html", status, refusal=refusal, making=making, asked=asked or Fields({}),
        place=place_of(house.settings), passkeys=await asyncio.to_thread(house.passkeys.of, visitor.person.id),
        lent=await _lent(house, visitor),
    )  # fmt: skip


async def _lent(house: House, visitor: Visitor) -> list[Lent]:
    """What this person has lent or been lent in the tenant in view and is not over, oldest first."""
    me = identity(visitor.person.on_record)
    known = await house.approvals.delegations(visitor.tenant)
    seen = [Lent(each, identity(each.requested_by) == me, Term.of(each)) for each in known]
    return [each for each in seen if each.term in (Term.COMING, Term.HOLDING) and (each.mine or identity(each.told.to) == me)]


def _delegate(asked: Fields) -> Delegate:
    """Raises BadRequest."""
    starts = _moment(asked, "starts") if asked.text("starts") else datetime.now(UTC)
    return Delegate(
        asked.text("to", 256).strip(), starts, _moment(asked, "ends"), asked.text("reason"), tuple(asked.texts("group"))
    )


def _moment(asked: Fields, name: str) -> datetime:
    """A moment in UTC, as a field of the kind `datetime-local` spells it. Raises BadRequest."""
    try:
        found = datetime.fromisoformat(asked.text(name, 32))
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise BadRequest("say when it begins and ends, such as 2026-12-24 08:00 in UTC", param=name)
    return found.replace(tzinfo=UTC)
