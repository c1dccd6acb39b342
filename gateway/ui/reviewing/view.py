"""What every handler of the review pages needs: the request, the house, who looks, and the room where content is read."""

from __future__ import annotations

from typing import Any, TypeAlias

from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from gateway.house import House
from gateway.ui.rendering import page
from gateway.ui.reviewing.reading import ReadingRoom
from gateway.ui.visitor import Looking, Visitor


class View:
    """One look at the pages. No dataclass, as a Visitor is none."""

    def __init__(self, request: Request[Any, Any, Any], house: House, visitor: Visitor, room: ReadingRoom) -> None:
        self.request, self.house, self.visitor, self.room = request, house, visitor, room

    @property
    def tenant(self) -> str:
        """The tenant in view."""
        return self.visitor.tenant

    def asked(self, name: str, most: int) -> str:
        """A parameter of the address, at most so much of it; empty if it is not there."""
        return self.request.query_params.get(name, "")[:most]

    def page(self, template: str, status: int = 200, **values: Any) -> Response[str]:
        """The rendered template."""
        return page(self.request, template, status, **values)


Viewing: TypeAlias = NamedDependency[SkipValidation[View]]
"""How a handler asks for it."""


def view_of(
    request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking, room: NamedDependency[ReadingRoom]
) -> View:
    """What the router gives to a handler that asks for a `view`."""
    return View(request, house, visitor, room)
