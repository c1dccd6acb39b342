"""/account: what the house knows of the person who is signed in, and another password."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from gateway.house import House
from gateway.people.passwords import check_new
from gateway.people.proving import NotProved
from gateway.people.users import new_password
from gateway.ui.cookies import Jar, Name
from gateway.ui.failures import sentence
from gateway.ui.forms import fields_of
from gateway.ui.rendering import page
from gateway.ui.signing import REFUSALS
from gateway.ui.visitor import Looking, anyone


@get("/account", opt=anyone())
async def account(request: Request[Any, Any, Any]) -> Response[str]:
    """Name, roles, groups."""
    return page(request, "account.html", refusal="")


@post("/account/password", opt=anyone())
async def change_password(
    request: Request[Any, Any, Any],
    house: NamedDependency[House],
    visitor: Looking,
    jar: NamedDependency[Jar],
) -> Response[Any]:
    """Another password, by whoever has the present one; every session of the person ends."""
    asked, person = await fields_of(request), visitor.person
    proved = await asyncio.to_thread(house.directory.prover.prove, person.tenant, person.name, asked.text("password"))
    if isinstance(proved, NotProved):
        return page(request, "account.html", 403, refusal=f"Your present password: {proved}.")
    try:
        hashed = await asyncio.to_thread(house.directory.passwords.hash, check_new(asked.text("new_password"), person.name))
        await house.administration.make(person.tenant, proved, new_password(person.tenant, person.name, hashed))
    except REFUSALS as error:
        return page(request, "account.html", 409, refusal=sentence(error))
    return Redirect("/sign-in?done=password-set", status_code=303, cookies=[jar.gone(Name.SESSION)])
