"""From a template and values to a page. Everything that is put into a template is escaped, and nothing undefined passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Request, Response
from litestar.datastructures import Cookie

from gateway.people.names import Role
from gateway.ui import notices, words
from gateway.ui.cookies import Name
from gateway.ui.static_files import address
from gateway.ui.visitor import Theme, Visitor, known_visitor

FOLDER: Final = Path(__file__).parent / "templates"
_NEVER: Final = {"cache-control": "no-store"}
_NOTICE: Final = "done"


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the navigation, shown to people with one of its roles."""

    path: str
    name: str
    roles: tuple[Role, ...]


PLACES: Final = (
    Place("/approvals", "Approvals", (Role.APPROVER, Role.AUDITOR, Role.OPERATOR)),
    Place("/generations", "Generations", (Role.APPROVER, Role.AUDITOR, Role.OPERATOR, Role.POLICY_ADMIN)),
    Place("/policies", "Policies", (Role.APPROVER, Role.AUDITOR, Role.OPERATOR, Role.POLICY_ADMIN)),
    Place("/economics", "Economics", (Role.AUDITOR, Role.OPERATOR, Role.POLICY_ADMIN)),
    Place("/log", "Log", (Role.AUDITOR, Role.OPERATOR)),
    Place("/exports", "Exports", (Role.AUDITOR,)),
    Place("/retention", "Retention", (Role.AUDITOR, Role.OPERATOR)),
    Place("/admin", "Admin", (Role.OPERATOR,)),
)


def places_for(visitor: Visitor | None) -> tuple[Place, ...]:
    """What this visitor may open."""
    return () if visitor is None else tuple(place for place in PLACES if visitor.may(*place.roles))


def roles_of(path: str) -> tuple[Role, ...]:
    """Whom a place of the navigation is for."""
    return next(place.roles for place in PLACES if place.path == path)


@dataclass(frozen=True, slots=True)
class Here:
    """The address of the page that is shown, and others like it: called with parameters it changes them, None drops one."""

    path: str
    query: Mapping[str, str]

    def __call__(self, **changes: object) -> str:
        query = dict(self.query) | {name: None if value is None else str(value) for name, value in changes.items()}
        told = urlencode({name: value for name, value in query.items() if value})
        return f"{self.path}?{told}" if told else self.path

    def within(self, place: str) -> bool:
        """Whether this page belongs to a place of the navigation."""
        return self.path == place or self.path.startswith(f"{place}/")

    def get(self, name: str) -> str:
        """A parameter, empty if it is not there."""
        return self.query.get(name, "")


def here_of(request: Request[Any, Any, Any]) -> Here:
    """The address of a request; of a parameter that comes several times, the last."""
    query = {name: value for name, value in request.query_params.multi_items() if name != _NOTICE}
    return Here(request.url.path, query)


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        auto_reload=False,
    )  # fmt: skip
    made.filters.update(words.FILTERS)
    made.globals.update(static=address, Role=Role, Theme=Theme)
    return made


ENVIRONMENT: Final = _environment()


def page(
    request: Request[Any, Any, Any], template: str, status: int = 200, cookies: Sequence[Cookie] = (), **values: Any
) -> Response[str]:
    """The rendered template as an answer that nobody keeps. Raises UndefinedError for a value that is missing."""
    visitor = known_visitor(request)
    frame = {
        "visitor": visitor,
        "places": places_for(visitor),
        "here": here_of(request),
        "opened": request.method == "GET",  # what answers a form has an address that cannot be opened again
        "theme": theme_of(request),
        "csrf": "" if visitor is None else visitor.csrf,
        "notice": notices.text(request.query_params.get(_NOTICE, "")),
    }
    text = ENVIRONMENT.get_template(template).render(frame | values)
    return Response(text, status_code=status, media_type=MediaType.HTML, headers=_NEVER, cookies=list(cookies))


def theme_of(request: Request[Any, Any, Any]) -> Theme:
    """The theme that was chosen in this browser."""
    kept = next((request.cookies[name] for name in request.cookies if name.endswith(Name.THEME)), Theme.AUTO.value)
    return Theme(kept) if kept in list(Theme) else Theme.AUTO
