"""The door of the pages: before any handler runs, who asks, whether the page is for them, and whether a form is genuine.

A handler says in its `opt` whom it is for; one that says nothing is for nobody.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final

from litestar import Request, Response
from litestar.connection import ASGIConnection

from audit.writer import SYSTEM
from gateway.errors import GatewayError
from gateway.house import House
from gateway.people.person import Person
from gateway.ui import forgery
from gateway.ui.cookies import Jar, Name
from gateway.ui.forms import fields_of, refuse_nul
from gateway.ui.rendering import page
from gateway.ui.visitor import KEY, ROLES, NotAllowed, Visitor

VISIT: Final = "ui_visit"
IN_VIEW: Final = "in_view"


class SignInNeeded(GatewayError):
    """Nobody is signed in, or the session has ended."""

    status = 401
    kind = "permission_error"
    default_code = "sign_in_needed"


class Forged(GatewayError):
    """A form that did not come from a page of this session."""

    status = 403
    kind = "permission_error"
    default_code = "form_not_genuine"


class OtherTenant(GatewayError):
    """The form was shown for another tenant than the one in view now."""

    status = 409
    default_code = "other_tenant"


class Door:
    """Opens or refuses; `before_request` of every page."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.jar = Jar(house.settings.base_url.startswith("https://"))

    async def open(self, request: Request[Any, Any, Any]) -> Response[Any] | None:
        """Let the request in with its visitor, or raise why not."""
        refuse_nul(request.query_params.multi_items())
        roles = _roles(request)
        if roles == ():
            await self._open_to_all(request)
            return None
        token = self.jar.read(request, Name.SESSION)
        if token is None and _came_from_elsewhere(request):
            return page(request, "again.html")
        person = None if token is None else await asyncio.to_thread(self._house.directory.sessions.find, token)
        if token is None or person is None:
            raise SignInNeeded("Please sign in.")
        visitor = await self._visitor(request, person, token)
        request.scope["state"][KEY] = visitor
        if roles is not None:
            visitor.require(*sorted(roles))
        if request.method not in forgery.SAFE:
            await _require_genuine(request, token)
            await _require_same_tenant(request, visitor)
        return None

    async def _open_to_all(self, request: Request[Any, Any, Any]) -> None:
        """A page for everybody: its forms belong to the session or, before there is one, to a visit: a random value."""
        visit, session = (self.jar.read(request, name) for name in (Name.VISIT, Name.SESSION))
        request.scope["state"][VISIT] = visit or secrets.token_urlsafe(32)
        if request.method not in forgery.SAFE:
            await _require_genuine(request, *filter(None, (visit, session)))

    async def _visitor(self, request: Request[Any, Any, Any], person: Person, token: str) -> Visitor:
        if person.tenant != SYSTEM:
            return Visitor(person, person.tenant, (person.tenant,), forgery.token(token))
        tenants = (SYSTEM, *await asyncio.to_thread(self._house.registry.tenants))
        wanted = self.jar.read(request, Name.TENANT)
        return Visitor(person, wanted if wanted in tenants else SYSTEM, tenants, forgery.token(token))


def visit_of(request: Request[Any, Any, Any]) -> str:
    """The visit of a page before sign-in."""
    found: str = request.scope["state"][VISIT]
    return found


def _roles(connection: ASGIConnection[Any, Any, Any, Any]) -> Any:
    """The roles of the handler: None for everybody signed in, () for everybody."""
    opt = connection.scope["route_handler"].opt
    if ROLES not in opt:
        raise NotAllowed("This page is for nobody.")
    return opt[ROLES]


def _came_from_elsewhere(request: Request[Any, Any, Any]) -> bool:
    """Whether a link on another site led here: then strict cookies stayed at home, and come along when the page asks again."""
    return request.method == "GET" and request.headers.get("sec-fetch-site") in ("cross-site", "same-site")


async def _require_genuine(request: Request[Any, Any, Any], *secrets_held: str) -> None:
    if not await forgery.genuine(request, secrets_held):
        raise Forged("This form is too old, or did not come from this page. Nothing was done. Open the page again and repeat.")


async def _require_same_tenant(request: Request[Any, Any, Any], visitor: Visitor) -> None:
    """Two windows, two tenants: what was asked for in one is not done in the other."""
    if request.headers.get(forgery.HEADER) is not None:
        return
    shown = (await fields_of(request)).one.get(IN_VIEW, visitor.tenant)
    if shown != visitor.tenant:
        raise OtherTenant(f"This form was shown for another tenant; {visitor.tenant} is in view now. Nothing was done.")
