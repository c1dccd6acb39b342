"""Whatever is sent to the API is answered as the sender's mistake, or as nothing found: never as a fault of the gateway."""

from __future__ import annotations

from typing import Any

import pytest

from audit.store import read_tenant
from audit.writer import SYSTEM
from gateway.people.names import Role
from tests.audit.writer_samples import TENANT
from tests.gateway.api.offices import Office, Person
from tests.gateway.api.test_delegations import loan
from tests.gateway.planted import PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOSTILE = (
    "", "%00", "%ed%a0%80", "null", "'; DROP TABLE app.approval; --", "a" * 5000, "0001-01-01T00:00:00%2B23:59",
    "9999-12-31T23:59:59-23:59", "-1", "MC4wLjA",
)  # fmt: skip
FILTERS = {
    "approvals": ("state", "share", "requester", "group", "expires_before", "rows", "after", "tenant"),
    "generations": ("mode", "state", "caller", "since", "until", "text_sha256", "after"),
    "economics": ("since", "until"),
}


async def test_hostile_queries(office: Office) -> None:
    """Each filter with each value that is none, over the lists and the days."""
    found = set[int]()
    for path, names in FILTERS.items():
        for name in names:
            for value in HOSTILE:
                found.add((await office.ada.get(f"/api/{path}?{name}={value}")).status_code)
    assert found <= {200, 400, 404}


async def test_nobody_acts_where_no_tenant_is(office: Office) -> None:
    """People of `system` name tenants that exist: another is not found, and nothing is recorded in its name."""
    async with office.site.signed_in("root", Role.APPROVER, Role.AUDITOR, tenant=SYSTEM) as browser:
        root = Person(browser)
        assert (await root.get(f"/api/delegations?tenant={TENANT}")).status_code == 200
        assert (await root.get("/api/delegations?tenant=ghost")).status_code == 404
        assert (await root.post("/api/delegations?tenant=ghost", loan(to="system/deputy"))).status_code == 404
    with read_tenant(office.site.database.reader_url, "ghost") as reader:
        assert reader.size() == 0


@pytest.mark.parametrize("part", ["9" * 40, "9" * 900, "-1", "x", "%00", "0.5"])
async def test_hostile_places(office: Office, part: str) -> None:
    """Numbers and ids that cannot be are not found."""
    made = await office.held("diffusion")
    for path in (f"{made}/blocks/{part}", f"{made}/blocks/0/steps/{part}", f"{made}/rounds/{part}", part, f"{part}/content"):
        assert (await office.ada.get(f"/api/generations/{path}")).status_code in (400, 404)


BODIES: tuple[Any, ...] = (
    None, 1, [], "x", {}, {"decision": "approve"}, {"password": PASSWORD}, {"password": PASSWORD, "decision": "maybe"},
    {"password": PASSWORD, "decision": "approve", "colour": "red"}, {"password": "x" * 2000, "decision": "approve"},
    {"password": PASSWORD, "decision": "approve", "seconds_looked": -1},
    {"password": PASSWORD, "decision": "approve", "on_behalf_of": "a\0b"},
    {"password": PASSWORD, "decision": "reject", "reason_code": " "}, {"password": PASSWORD, "decision": "break_glass"},
)  # fmt: skip


async def test_hostile_bodies(office: Office) -> None:
    """A body that is no decision is refused before the password is looked at, and nothing is recorded."""
    held = await office.held()
    tag = await office.tag(held)
    for body in BODIES:
        answer = await office.grace.post(f"/api/approvals/{held}/decision", body, **{"if-match": f'"{tag}"'})
        assert answer.status_code == 400, (body, answer.text)
    for raw, status in ((b"\xff{", 400), (b"[" * 100_000, 400), (b'"' + b"x" * 2_000_000 + b'"', 413)):
        headers = {"if-match": f'"{tag}"', "x-csrf-token": office.grace.token}
        answer = await office.grace.browser.client.post(f"/api/approvals/{held}/decision", content=raw, headers=headers)
        assert answer.status_code == status
    assert (await office.grace.get(f"/api/approvals/{held}")).json()["signatures"] == []
