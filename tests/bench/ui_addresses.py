"""Every address that the application answers to a GET, with something in the place of each parameter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from litestar import Litestar
from litestar.di import Provide
from litestar.routes import HTTPRoute

from gateway.api.routes import API
from gateway.app import ROUTES
from gateway.ui.routes import pages
from tests.audit.writer_samples import TENANT
from tests.gateway.ui.browsing import Site

UNMEASURED: Final = {
    "/api/approvals/feed": "never ends",
    "/v1/responses/{response}": "tells an answer again, which takes a model's time to make",
    "/jobs/{job}": "needs a job that runs",
    "/exports/{parcel}": "needs an export",
    "/policies/explain": "runs the policy over a recorded request",
    "/policies/difference": "needs two policies that were in force",
    "/admin/tenants": "is for people of tenant system",
    "/static/{name}": "is a file",
}
"""What is not asked, and why."""


@dataclass(frozen=True, slots=True)
class Known:
    """What addresses are about: a diffusion answer and a speculated one that wait, places in lists, a digest, a model."""

    drafted: UUID
    speculated: UUID
    after_generations: str
    after_approvals: str
    policy: str
    text_sha256: str
    model: str


@dataclass(frozen=True, slots=True)
class Address:
    """A path to be asked, the route it belongs to, how it is shown, and who asks: a person, a key or the token of numbers."""

    path: str
    route: str
    shown: str
    who: str


def addresses(here: Site, known: Known) -> list[Address]:
    """All of them: each route once, and lists narrowed in each way."""
    values = {
        "generation": str(known.drafted), "block": "0", "step": "0", "number": "0", "tenant": TENANT, "path": "checkpoint",
        "model_id": known.model, "digest": known.policy, "name": "ada", "key": _key(here), "response": "",
    }  # fmt: skip
    found = list[Address]()
    for route in sorted(_routes(here)):
        if route in UNMEASURED:
            continue
        given = values | ({"generation": str(known.speculated)} if "/rounds/" in route else {})
        path = route.format_map(given)
        found += [Address(path + query, route, route + query[:60], _who(route)) for query in ("", *_narrowed(route, known))]
    return found


def _who(route: str) -> str:
    if route == "/metrics":
        return "token"
    keys = route.startswith(("/v1/", "/log/{")) or (route.startswith("/api/") and route.endswith("/proof"))
    return "key" if keys else "person"


def _routes(here: Site) -> set[str]:
    house = here.housed.house
    provided = Provide(lambda: house, sync_to_thread=False)
    application = Litestar(
        [*ROUTES, API, pages(house)], dependencies={"house": provided}, openapi_config=None, logging_config=None
    )
    gets = [route for route in application.routes if isinstance(route, HTTPRoute) and "GET" in route.methods]
    return {re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path) for route in gets}


def _key(here: Site) -> str:
    return str(here.housed.house.registry.keys(TENANT)[0].id)


def _narrowed(route: str, known: Known) -> tuple[str, ...]:
    match route:
        case "/api/generations":
            return (
                "?mode=ar", "?state=failed", "?state=pending", "?caller=key-7", "?workflow=release", "?verdict=block",
                "?mode=diffusion&state=abandoned", "?since=2020-01-01T00:00:00Z&until=2021-01-01T00:00:00Z",
                f"?text_sha256={known.text_sha256}", f"?text_sha256={'0' * 64}", "?rows=200", *_behind(known.after_generations),
            )  # fmt: skip
        case "/api/approvals":
            return (
                "?mode=ar", "?state=rejected", "?requester=key-7", "?group=leads", "?share=unassigned", "?share=mine",
                "?rows=200", *_behind(known.after_approvals),
            )  # fmt: skip
        case "/generations":
            return "?mode=ar", "?state=failed", *_behind(known.after_generations)
        case "/approvals":
            return (
                "?mode=ar", "?share=unassigned", "?state=rejected", "?state=released", "?sort=held", "?sort=held&order=up",
                "?sort=left", "?sort=left&order=up", *_behind(known.after_approvals),
            )  # fmt: skip
        case "/admin" | "/admin/keys":
            return ("?sort=state",)
        case _:
            return ()


def _behind(place: str) -> tuple[str, ...]:
    """The page behind a place, if the list is as long as that."""
    return (f"?after={place}",) if place else ()
