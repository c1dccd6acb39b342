"""The description names every route of the gateway, and nothing that there is not."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from litestar import Litestar
from litestar.di import Provide
from litestar.routes import HTTPRoute

from gateway.api import documents, forms
from gateway.api.openapi.document import OPERATIONS, document
from gateway.api.routes import API
from gateway.app import ROUTES
from gateway.projections.days import Sums
from gateway.projections.economics import Economics
from gateway.projections.folding import Told
from tests.gateway.api.offices import Office

pytestmark = pytest.mark.asyncio(loop_scope="module")
STATIC = "/static/{name}"


def routes() -> set[tuple[str, str]]:
    """Method and path of every route that is no page."""
    house = Provide(lambda: None, sync_to_thread=False)
    application = Litestar(
        route_handlers=[*ROUTES, API], dependencies={"house": house}, openapi_config=None, logging_config=None
    )
    found = set[tuple[str, str]]()
    for route in application.routes:
        assert isinstance(route, HTTPRoute)
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        found |= {(method.lower(), path) for handler in route.route_handlers for method in handler.http_methods}
    return {(method, path) for method, path in found if method != "options" and path != STATIC}


async def test_every_route_is_described() -> None:
    """Each method of each route that programs use has its operation, but HEAD beside GET, and each operation its route."""
    described, found = {(each.method, each.path) for each in OPERATIONS}, routes()
    assert described <= found and found - described <= {("head", path) for method, path in described if method == "get"}


def every(node: Any) -> Iterator[tuple[str, Any]]:
    """All keys and values of a document."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from every(value)
    elif isinstance(node, list):
        for value in node:
            yield from every(value)


async def test_the_description_holds_together() -> None:
    """Names are unique, every reference leads somewhere, tags and ways of proof are declared, and it is JSON."""
    found = json.loads(json.dumps(document()))
    operations = [operation for path in found["paths"].values() for operation in path.values()]
    assert max(Counter(each["operationId"] for each in operations).values()) == 1
    refs = {value.rpartition("/")[2] for key, value in every(found) if key == "$ref"}
    assert refs <= set(found["components"]["schemas"])
    assert {tag for each in operations for tag in each["tags"]} <= {each["name"] for each in found["tags"]}
    proofs = {name for each in operations for way in each["security"] for name in way}
    assert proofs == set(found["components"]["securitySchemes"])
    for path, methods in found["paths"].items():
        for operation in methods.values():
            named = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))
            assert operation["responses"] and all(each["description"] for each in operation["responses"].values())


async def test_money_is_told_in_digits() -> None:
    """What seven tokens cost is a fixed-point number, as the format `decimal` has it, in rows and in sums."""
    seven = Decimal("0.0000007")
    now = datetime.now(UTC)
    row = Told(uuid4(), "acme", now, "key", "month", 0, 1, money=seven, currency="USD")
    sums = Economics("ar", "USD", Sums(1, money=seven))
    assert documents.generation(row).money == documents.economy(sums).money == "0.0000007"
    schemas = document()["components"]["schemas"]
    for name in ("Generation", "Economy"):
        assert schemas[name]["properties"]["money"] == {"type": "string", "format": "decimal"}


async def test_answers_are_what_the_description_says(office: Office) -> None:
    """What is answered has just the fields of the described document, each in its form; anybody may read it."""
    held = await office.held("diffusion")
    for path, form in (
        ("/api/approvals", forms.Approvals),
        (f"/api/approvals/{held}", forms.Case),
        (f"/api/approvals/{held}/content", forms.Content),
        ("/api/generations", forms.Generations),
        (f"/api/generations/{held}", forms.Generation),
        (f"/api/generations/{held}/content", forms.Answer),
        (f"/api/generations/{held}/blocks/0", forms.Block),
        (f"/api/generations/{held}/blocks/0/steps/0", forms.BlockStep),
    ):
        answer = await office.grace.get(path)
        strict = msgspec.defstruct("Strict", [], bases=(form,), forbid_unknown_fields=True)
        assert answer.status_code == 200 and isinstance(msgspec.json.decode(answer.content, type=strict), form)
    async with office.site.browser() as browser:
        shown = await browser.client.get("/api/openapi.json")
        assert shown.json()["openapi"] == "3.1.0"
        assert (await browser.client.get("/api/nothing")).status_code == 404
