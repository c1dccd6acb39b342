"""/admin: the people of the tenant in view. Every change goes through `gateway.administration`, which records it first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from gateway.administration import Decide
from gateway.errors import BadRequest, NotHere
from gateway.house import House
from gateway.people.directory import UserLine
from gateway.people.hashing import Line, in_turn
from gateway.people.names import Role
from gateway.people.passkeys import withdrawn
from gateway.people.passwords import check_new
from gateway.people.users import disabled, enabled, new_password, new_user, other_groups, other_roles, signed_out
from gateway.registry import RegistryError
from gateway.ui.failures import sentence
from gateway.ui.forms import Fields, fields_of
from gateway.ui.rendering import Here, here_of, page, roles_of
from gateway.ui.signing import REFUSALS
from gateway.ui.sorting import Columns
from gateway.ui.visitor import Looking, Visitor, only

_FOR: Final = only(*roles_of("/admin"))
COLUMNS: Final[Columns[UserLine]] = Columns(
    {
        "name": lambda user: user.name,
        "roles": lambda user: sorted(user.roles),
        "state": lambda user: (user.disabled_at is not None, user.name),
    }
)


@get("/admin", opt=_FOR)
async def people(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[str]:
    """Everybody, and the form for one more."""
    return await _everybody(request, house, visitor)


@post("/admin/people", opt=_FOR)
async def make_person(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """One more person, with a first password."""
    asked = await fields_of(request)
    name = asked.text("name").strip()
    try:
        hashed = await _hashed(house, asked, name)
        shown = asked.text("display_name").strip() or name
        decide = new_user(visitor.tenant, name, shown, _roles(asked), _groups(asked), hashed)
        await house.administration.make(visitor.tenant, visitor.person, decide)
    except REFUSALS as error:
        return await _everybody(request, house, visitor, asked, sentence(error))
    return Redirect(f"/admin/people/{name}?done=saved", status_code=303)


@get("/admin/people/{name:str}", opt=_FOR)
async def person_page(
    request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking, name: FromPath[str]
) -> Response[str]:
    """One person: roles, groups, password, state, passkeys, keys."""
    return await _one(request, house, visitor, name)


@post("/admin/people/{name:str}/{act:str}", opt=_FOR)
async def change_person(
    request: Request[Any, Any, Any],
    house: NamedDependency[House],
    visitor: Looking,
    name: FromPath[str],
    act: FromPath[str],
) -> Response[Any]:
    """Change one point of a person."""
    asked = await fields_of(request)
    user = await _user(house, visitor, name)
    try:
        decide = await _decided(house, visitor, user, act, asked)
        made = await house.administration.make(visitor.tenant, visitor.person, decide)
    except REFUSALS as error:
        return await _one(request, house, visitor, name, sentence(error))
    return Redirect(f"/admin/people/{user.name}?done={'nothing' if made is None else 'saved'}", status_code=303)


async def _decided(house: House, visitor: Visitor, user: UserLine, act: str, asked: Fields) -> Decide:
    """What is to be decided. Raises NotHere for an act that there is not, RegistryError for what breaks a rule."""
    tenant, name = visitor.tenant, user.name
    match act:
        case "roles":
            wanted = set(_roles(asked))
            return other_roles(tenant, name, wanted - set(user.roles), set(user.roles) - wanted)
        case "groups":
            groups = set(_groups(asked))
            return other_groups(tenant, name, groups - set(user.groups), set(user.groups) - groups)
        case "password" if user.id == visitor.person.id:
            raise RegistryError("your own password is changed on /account, where the present one is asked for")
        case "password":
            return new_password(tenant, name, await _hashed(house, asked, name))
        case "sign-out":
            return signed_out(tenant, name)
        case "disable":
            return disabled(tenant, name)
        case "enable":
            return enabled(tenant, name)
        case "passkey":
            return withdrawn(tenant, name, asked.identity("passkey"))
        case _:
            raise NotHere("There is no such act.")


async def _hashed(house: House, asked: Fields, name: str) -> str:
    """The hash of the password that was chosen. Raises RegistryError for one that breaks a rule."""
    new = check_new(asked.text("new_password"), name)
    return await in_turn(Line.PEOPLE, partial(house.directory.passwords.hash, new))


def _roles(asked: Fields) -> Sequence[Role]:
    try:
        return [Role(each) for each in asked.texts("role")]
    except ValueError as error:
        raise BadRequest("there is no such role", param="role") from error


def _groups(asked: Fields) -> Sequence[str]:
    """Groups as they are written, one a line or with commas between."""
    return [each.strip() for each in asked.text("groups").replace("\n", ",").split(",") if each.strip()]


async def _user(house: House, visitor: Visitor, name: str) -> UserLine:
    try:
        return await asyncio.to_thread(house.directory.user, visitor.tenant, name)
    except RegistryError as error:
        raise NotHere("This tenant has no person of that name.") from error


async def _everybody(
    request: Request[Any, Any, Any], house: House, visitor: Visitor, asked: Fields | None = None, refusal: str = ""
) -> Response[str]:
    here = Here("/admin", here_of(request).query)
    users = COLUMNS.sorted(await asyncio.to_thread(house.directory.users, visitor.tenant), here)
    return page(
        request, "people.html", 409 if refusal else 200, users=users, refusal=refusal, asked=asked or Fields({}), here=here
    )


async def _one(request: Request[Any, Any, Any], house: House, visitor: Visitor, name: str, refusal: str = "") -> Response[str]:
    user = await _user(house, visitor, name)
    keys = [key for key in await asyncio.to_thread(house.registry.keys, visitor.tenant) if key.user == name]
    sessions = await asyncio.to_thread(house.directory.sessions.seen, user.id)
    passkeys = await asyncio.to_thread(house.passkeys.of, user.id)
    return page(
        request, "person.html", 409 if refusal else 200, user=user, keys=keys, sessions=sessions, passkeys=passkeys,
        refusal=refusal, oneself=user.id == visitor.person.id,
    )  # fmt: skip
