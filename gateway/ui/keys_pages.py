"""/admin/keys and /admin/tenants: API keys of the tenant in view, and for operators of `system` the tenants themselves."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from audit.writer import SYSTEM
from gateway.errors import NotHere
from gateway.house import House
from gateway.registry import KeyLine
from gateway.tenancy import key_made, key_revoked, key_rotated, new_key, new_text, tenant_made
from gateway.ui.failures import sentence
from gateway.ui.forms import Fields, fields_of
from gateway.ui.rendering import here_of, page, roles_of
from gateway.ui.signing import REFUSALS
from gateway.ui.sorting import Columns
from gateway.ui.visitor import Looking, NotAllowed, Visitor, only

_FOR: Final = only(*roles_of("/admin"))
DAYS_MOST: Final = 3650
COLUMNS: Final[Columns[KeyLine]] = Columns(
    {
        "key": lambda key: key.label,
        "user": lambda key: key.user or "",
        "made": lambda key: key.created_at,
        "state": lambda key: (key.revoked_at is not None, key.expires_at is None, key.expires_at or key.created_at),
    }
)


@get("/admin/keys", opt=_FOR)
async def keys_page(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[str]:
    """All keys of the tenant, and the form for another."""
    return await _all(request, house, visitor)


@post("/admin/keys", opt=_FOR)
async def make_key(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[str]:
    """Another key, told this once."""
    asked, key = await fields_of(request), new_key()
    try:
        days = asked.whole("days", 1, DAYS_MOST)
        decide = key_made(key, visitor.tenant, asked.text("label").strip(), asked.text("user").strip() or None, days)
        await house.administration.make(visitor.tenant, visitor.person, decide)
    except REFUSALS as error:
        return await _all(request, house, visitor, asked, sentence(error))
    return page(request, "key_told.html", id=key.id, text=key.text)


@get("/admin/keys/{key:uuid}", opt=_FOR)
async def key_page(
    request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking, key: FromPath[UUID]
) -> Response[str]:
    """One key."""
    return page(request, "key.html", key=await _key(house, visitor, key), refusal="")


@post("/admin/keys/{key:uuid}/rotate", opt=_FOR)
async def rotate_key(
    request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking, key: FromPath[UUID]
) -> Response[str]:
    """Another secret for a key, told this once."""
    asked, line, text = await fields_of(request), await _key(house, visitor, key), new_text()
    try:
        decide = key_rotated(line.id, text, asked.whole("days", 1, DAYS_MOST))
        await house.administration.make(visitor.tenant, visitor.person, decide)
    except REFUSALS as error:
        return page(request, "key.html", 409, key=line, refusal=sentence(error))
    return page(request, "key_told.html", id=line.id, text=text)


@post("/admin/keys/{key:uuid}/revoke", opt=_FOR)
async def revoke_key(
    request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking, key: FromPath[UUID]
) -> Response[Any]:
    """Within a second the key opens nothing."""
    line = await _key(house, visitor, key)
    try:
        made = await house.administration.make(visitor.tenant, visitor.person, key_revoked(line.id))
    except REFUSALS as error:
        return page(request, "key.html", 409, key=line, refusal=sentence(error))
    return Redirect(f"/admin/keys/{line.id}?done={'nothing' if made is None else 'saved'}", status_code=303)


@get("/admin/tenants", opt=_FOR)
async def tenants_page(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[str]:
    """All tenants, and the form for another."""
    return await _tenants(request, house, visitor)


@post("/admin/tenants", opt=_FOR)
async def make_tenant(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """Another tenant, on record in the log of `system`."""
    _require_system(visitor)
    asked = await fields_of(request)
    try:
        await house.administration.make(SYSTEM, visitor.person, tenant_made(asked.text("name").strip()))
    except REFUSALS as error:
        return await _tenants(request, house, visitor, asked, sentence(error))
    return Redirect("/admin/tenants?done=saved", status_code=303)


async def _key(house: House, visitor: Visitor, wanted: UUID) -> KeyLine:
    """A key of the tenant in view; another's is not told apart from none."""
    found = await asyncio.to_thread(house.registry.keys, visitor.tenant)
    line = next((key for key in found if key.id == wanted), None)
    if line is None:
        raise NotHere("This tenant has no such key.")
    return line


async def _all(
    request: Request[Any, Any, Any], house: House, visitor: Visitor, asked: Fields | None = None, refusal: str = ""
) -> Response[str]:
    keys = COLUMNS.sorted(reversed(await asyncio.to_thread(house.registry.keys, visitor.tenant)), here_of(request))
    return page(request, "keys.html", 409 if refusal else 200, keys=keys, refusal=refusal, asked=asked or Fields({}))


async def _tenants(
    request: Request[Any, Any, Any], house: House, visitor: Visitor, asked: Fields | None = None, refusal: str = ""
) -> Response[str]:
    _require_system(visitor)
    names = await asyncio.to_thread(house.registry.tenants)
    return page(request, "tenants.html", 409 if refusal else 200, names=names, refusal=refusal, asked=asked or Fields({}))


def _require_system(visitor: Visitor) -> None:
    if visitor.person.tenant != SYSTEM:
        raise NotAllowed("Tenants are made by operators of tenant system.")
