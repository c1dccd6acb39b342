"""Every route of the pages, with something in place of its parameters: what a test of all of them walks over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from litestar.handlers import HTTPRouteHandler

from gateway.ui.routes import PAGES
from gateway.ui.visitor import ROLES

_PARAMETER = re.compile(r"\{(\w+):(\w+)\}")
NOBODYS = "01936f5e-0000-7000-8000-000000000001"


@dataclass(frozen=True)
class Route:
    """One method of one handler; `roles` are None for everybody signed in, () for everybody, and absent for nobody."""

    method: str
    path: str
    roles: Any

    def at(self, values: Mapping[str, str]) -> str:
        """The address with these parameters; of an id, nobody's where none is given."""
        return _PARAMETER.sub(lambda found: values.get(found[1], NOBODYS if found[2] == "uuid" else "x"), self.path)


def routes() -> Iterator[Route]:
    """All of them."""
    for handler in PAGES:
        assert isinstance(handler, HTTPRouteHandler)
        for method in handler.http_methods:
            for path in handler.paths:
                yield Route(str(getattr(method, "value", method)), path, handler.opt.get(ROLES, "nobody"))


READ = [route for route in routes() if route.method == "GET"]
CHANGE = [route for route in routes() if route.method not in ("GET", "HEAD", "OPTIONS")]
