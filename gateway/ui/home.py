"""The first page, and what a person may choose about all of them: the tenant in view and the theme."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get, head, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from gateway.errors import NotHere
from gateway.ui.cookies import YEAR, Jar, Name
from gateway.ui.forms import SMALL, fields_of
from gateway.ui.onward import onward
from gateway.ui.rendering import page, places_for
from gateway.ui.visitor import Looking, Theme, anyone, public


@get("/", opt=anyone())
async def home(request: Request[Any, Any, Any], visitor: Looking) -> Response[Any]:
    """The first place that the person may open; for who may open none, what that means."""
    places = places_for(visitor)
    return Redirect(places[0].path, status_code=303) if places else page(request, "home.html")


@head("/", opt=public(), sync_to_thread=False)
def here() -> Response[None]:
    """Some versions of Claude Code look here whether anybody is there, before they ask; the others at /api/hello."""
    return Response(None, status_code=200)


@get("/patterns", opt=anyone())
async def patterns(request: Request[Any, Any, Any]) -> Response[str]:
    """Every component of these pages, once."""
    return page(request, "patterns.html")


@post("/theme", opt=public(), status_code=303, request_max_body_size=SMALL)
async def choose_theme(request: Request[Any, Any, Any], jar: NamedDependency[Jar]) -> Response[Any]:
    """Light, dark, or as the browser prefers."""
    asked = await fields_of(request)
    wanted = asked.text("theme")
    theme = Theme(wanted) if wanted in list(Theme) else Theme.AUTO
    return Redirect(onward(asked.text("back")), status_code=303, cookies=[jar.kept(Name.THEME, theme.value, YEAR)])


@post("/tenant", opt=anyone(), status_code=303)
async def choose_tenant(request: Request[Any, Any, Any], visitor: Looking, jar: NamedDependency[Jar]) -> Response[Any]:
    """Another tenant in view, for people of `system`."""
    asked = await fields_of(request)
    wanted = asked.text("tenant")
    if wanted not in visitor.tenants:
        raise NotHere(f"There is no tenant of this name that you may see; {visitor.tenant} stays in view.")
    return Redirect(onward(asked.text("back")), status_code=303, cookies=[jar.kept(Name.TENANT, wanted)])
