"""Who looks at a page: the person, the tenant in view, and what of it the person may do there."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, TypeAlias

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from gateway.errors import GatewayError
from gateway.people.names import Role
from gateway.people.person import Person

KEY: Final = "ui_visitor"
ROLES: Final = "ui_roles"
ANYONE: Final = frozenset(Role)


class Theme(StrEnum):
    """Light or dark; `auto` is what the browser prefers."""

    AUTO = "auto"
    LIGHT = "light"
    DARK = "dark"


class NotAllowed(GatewayError):
    """The person is signed in and has none of the roles that this takes."""

    status = 403
    kind = "permission_error"
    default_code = "not_allowed"


class Visitor:
    """A signed-in person. `tenants` are those that may be in view: all for people of `system`, else their own.

    No dataclass: the framework would look into one, and a Person is sealed.
    """

    def __init__(self, person: Person, tenant: str, tenants: tuple[str, ...], csrf: str) -> None:
        self.person, self.tenant, self.tenants, self.csrf = person, tenant, tenants, csrf

    def may(self, *roles: Role) -> bool:
        """Whether the person has one of these roles."""
        return not self.person.roles.isdisjoint(roles)

    def require(self, *roles: Role) -> None:
        """Raise NotAllowed unless the person has one of these roles."""
        if not self.may(*roles):
            wanted = " or ".join(role.value.replace("_", " ") for role in roles)
            raise NotAllowed(f"This takes the role {wanted}. An operator of your tenant can give it.")


Looking: TypeAlias = NamedDependency[SkipValidation[Visitor]]
"""How a handler asks for the visitor: as the door made it, for a Person can be neither checked nor made again from outside."""


def only(*roles: Role) -> dict[str, Any]:
    """`opt` of a handler that is for people with one of these roles. A handler without `opt` is for nobody."""
    return {ROLES: frozenset(roles)}


def anyone() -> dict[str, Any]:
    """`opt` of a handler that is for everybody who is signed in."""
    return {ROLES: None}


def public() -> dict[str, Any]:
    """`opt` of a handler that is for everybody."""
    return {ROLES: ()}


def visitor_of(request: Request[Any, Any, Any]) -> Visitor:
    """Who the door let in."""
    found = request.scope["state"].get(KEY)
    if not isinstance(found, Visitor):
        raise TypeError("the request did not pass gateway.ui.door")
    return found


def known_visitor(request: Request[Any, Any, Any]) -> Visitor | None:
    """Who the door let in, None before it did."""
    found = request.scope.get("state", {}).get(KEY)
    return found if isinstance(found, Visitor) else None
