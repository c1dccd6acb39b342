"""Sign-in and sign-out. A proof makes a new session each time; the one that came along ends."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from gateway.house import House
from gateway.people.hashing import Crowded, Line, in_turn
from gateway.people.proving import NotProved
from gateway.people.sessions import LONGEST, SessionToken
from gateway.ui import forgery
from gateway.ui.cookies import Jar, Name
from gateway.ui.door import visit_of
from gateway.ui.forms import SMALL, Fields, fields_of
from gateway.ui.onward import onward
from gateway.ui.rendering import page
from gateway.ui.visitor import anyone, public


@get("/sign-in", opt=public())
async def sign_in_page(request: Request[Any, Any, Any], jar: NamedDependency[Jar]) -> Response[str]:
    """The form."""
    asked = Fields({"next": request.query_params.get("next", "")})
    return _form(request, jar, asked, "")


@post("/sign-in", opt=public(), status_code=200, request_max_body_size=SMALL)
async def sign_in(request: Request[Any, Any, Any], house: NamedDependency[House], jar: NamedDependency[Jar]) -> Response[Any]:
    """A session for whoever proves it, and on to the page that was asked for."""
    asked = await fields_of(request)
    came_along = jar.read(request, Name.SESSION)
    try:
        found = await in_turn(Line.STRANGERS, partial(_begun, house, asked, came_along))
    except Crowded as error:
        return _form(request, jar, asked, error.message, error.status, error.headers())
    if isinstance(found, NotProved):
        if found.wait:
            told = f"Too many attempts on this name. Wait {found.wait} s, then try again."
            return _form(request, jar, asked, told, 429, {"retry-after": str(found.wait)})
        return _form(request, jar, asked, "No such user, a wrong password, or a disabled user.", 401)
    kept = jar.kept(Name.SESSION, found, int(LONGEST.total_seconds()))
    return Redirect(onward(asked.text("next")), status_code=303, cookies=[kept, jar.gone(Name.VISIT)])


@post("/sign-out", opt=anyone(), status_code=303)
async def sign_out(request: Request[Any, Any, Any], house: NamedDependency[House], jar: NamedDependency[Jar]) -> Response[Any]:
    """The session ends, in every process at once."""
    token = jar.read(request, Name.SESSION)
    if token is not None:
        await asyncio.to_thread(house.directory.sessions.end, token)
    gone = [jar.gone(Name.SESSION), jar.gone(Name.TENANT)]
    return Redirect("/sign-in?done=signed-out", status_code=303, cookies=gone)


def _begun(house: House, asked: Fields, came_along: str | None) -> SessionToken | NotProved:
    directory = house.directory
    person = directory.prover.prove(asked.text("tenant").strip(), asked.text("name").strip(), asked.text("password"))
    if isinstance(person, NotProved):
        return person
    return directory.sessions.begin(person, instead_of=came_along) or NotProved()


def _form(
    request: Request[Any, Any, Any], jar: Jar, asked: Fields, refusal: str, status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response[str]:  # fmt: skip
    visit = visit_of(request)
    answer = page(
        request, "sign_in.html", status, [jar.kept(Name.VISIT, visit)], asked=asked, refusal=refusal, csrf=forgery.token(visit)
    )
    answer.headers.update(headers or {})
    return answer
