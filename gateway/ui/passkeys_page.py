"""/account/passkeys: a passkey is made in two steps, the password first; each passkey that comes or goes is on record."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from gateway.errors import BadRequest
from gateway.house import House
from gateway.people.again import by_password
from gateway.people.ceremonies import NewKey, Place, place_of
from gateway.people.passkeys import added, removed
from gateway.people.proving import NotProved
from gateway.registry import RegistryError
from gateway.ui.account_page import account_shown
from gateway.ui.failures import sentence
from gateway.ui.forms import fields_of
from gateway.ui.signing import PASSKEY_MOST, REFUSALS, read
from gateway.ui.visitor import Looking, anyone


@post("/account/passkeys", opt=anyone(), status_code=200)
async def begin_passkey(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """Step one: the password, and what the passkey is to be called. The page that follows asks the authenticator."""
    asked, person = await fields_of(request), visitor.person
    by = await by_password(house.directory.prover, person, asked.text("password"))
    if isinstance(by, NotProved):
        return await account_shown(request, house, visitor, 403, f"Your password: {by}.")
    try:
        making = await asyncio.to_thread(house.passkeys.offer, _place(house), by, asked.text("label").strip())
    except RegistryError as error:
        return await account_shown(request, house, visitor, 409, sentence(error))
    return await account_shown(request, house, visitor, making=making)


@post("/account/passkeys/add", opt=anyone())
async def add_passkey(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """Step two: what the authenticator gave for the challenge of step one."""
    asked, person = await fields_of(request), visitor.person
    try:
        answer = read(asked.text("passkey", PASSKEY_MOST), NewKey)
        new = await asyncio.to_thread(house.passkeys.accept, _place(house), person, answer)
        await house.administration.make(person.tenant, person, added(person, new))
    except REFUSALS as error:
        return await account_shown(request, house, visitor, 409, sentence(error))
    return Redirect("/account?done=passkey-added", status_code=303)


@post("/account/passkeys/remove", opt=anyone())
async def remove_passkey(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """Nothing is signed with it any more."""
    asked, person = await fields_of(request), visitor.person
    by = await by_password(house.directory.prover, person, asked.text("password"))
    if isinstance(by, NotProved):
        return await account_shown(request, house, visitor, 403, f"Your password: {by}.")
    try:
        await house.administration.make(person.tenant, by, removed(by, asked.identity("passkey")))
    except REFUSALS as error:
        return await account_shown(request, house, visitor, 409, sentence(error))
    return Redirect("/account?done=passkey-removed", status_code=303)


def _place(house: House) -> Place:
    """Raises BadRequest where browsers would make no passkey."""
    place = place_of(house.settings)
    if place is None:
        raise BadRequest("Passkeys take a gateway with a name and https: an operator sets PALIMPSEST_BASE_URL.")
    return place
