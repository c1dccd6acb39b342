"""The right to decide, lent and ended over the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from gateway.ui import forgery
from tests.gateway.api.offices import Office, Person
from tests.gateway.planted import PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATH = "/api/delegations"


def loan(**change: Any) -> dict[str, Any]:
    """Lent to `lin` for an hour."""
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    return {"password": PASSWORD, "to": "lin", "ends_at": ends, "reason": "on leave"} | change


async def end(who: Person, delegation: str, password: str = PASSWORD) -> httpx.Response:
    """End it."""
    headers = {forgery.HEADER: who.token}
    return await who.browser.client.request("DELETE", f"{PATH}/{delegation}", json={"password": password}, headers=headers)


async def test_a_right_is_lent_used_and_ended(office: Office) -> None:
    """Who was lent it decides in the lender's right, and both are named; once it is ended that is over; all of it is listed."""
    lent = await office.grace.post(PATH, loan(groups=[]))
    assert lent.status_code == 200, lent.text
    assert (lent.json()["by"], lent.json()["to"], lent.json()["term"]) == ("grace", "lin", "holding")
    first, second = await office.held(), await office.held()
    done = await office.lin.act(
        f"/api/approvals/{first}/decision", await office.tag(first), decision="approve", on_behalf_of="grace"
    )
    assert done.status_code == 200, done.text
    assert [(each["person"], each["on_behalf_of"]) for each in done.json()["signatures"]] == [("lin", "grace")]
    ended = await end(office.grace, lent.json()["delegation"])
    assert (ended.status_code, ended.json()["term"]) == (200, "ended")
    refused = await office.lin.act(
        f"/api/approvals/{second}/decision", await office.tag(second), decision="approve", on_behalf_of="grace"
    )
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_permitted")
    listed = (await office.ada.get(PATH)).json()["delegations"]
    assert lent.json() | {"term": "ended"} in listed
    soon = (datetime.now(UTC) + timedelta(minutes=9)).isoformat()
    later = await office.grace.post(PATH, loan(starts_at=soon, groups=["a", "b"]))
    assert (later.json()["term"], later.json()["groups"]) == ("coming", ["a", "b"])


REFUSED: tuple[tuple[int, dict[str, Any]], ...] = (
    (401, {"password": "wrong wrong wrong"}), (400, {"password": ""}), (403, {"to": "nobody"}), (403, {"to": "grace"}),
    (403, {"to": "/lin"}), (403, {"to": "eve"}), (403, {"to": "other/eve"}), (400, {"reason": " "}), (400, {"more": 1}),
    (403, {"ends_at": "2020-01-01T00:00:00Z"}), (400, {"ends_at": "2099-01-01T00:00:00"}), (400, {"ends_at": "soon"}),
    (403, {"ends_at": "2098-01-01T00:00:00Z", "starts_at": "2099-01-01T00:00:00Z"}), (400, {"groups": ["g"] * 65}),
    (403, {"groups": [""]}), (403, {"to": "\u00e9" * 200}), (403, {"ends_at": "9999-12-31T23:59:59.999999Z"}),
    (403, {"ends_at": "9999-12-31T23:59:59-01:00"}),
)  # fmt: skip


async def test_what_cannot_be_lent_is_refused(office: Office) -> None:
    """To nobody, to oneself, to another tenant, for no time or for ever, without reason or password: nothing is recorded."""
    before = (await office.ada.get(PATH)).json()
    for status, change in REFUSED:
        answer = await office.grace.post(PATH, loan(**change))
        assert answer.status_code == status, (change, answer.text)
    assert (await office.ada.get(PATH)).json() == before


async def test_who_may_lend_end_and_look(office: Office) -> None:
    """Approvers lend, only the lender ends, people with a reading role of that tenant look; a key does none of it."""
    lent = (await office.grace.post(PATH, loan())).json()
    for who in (office.ada, office.kay):
        assert (await who.post(PATH, loan())).status_code == 403
    for who in (office.lin, office.kay, office.eve):
        assert (await end(who, lent["delegation"])).status_code == 404
    assert (await end(office.grace, str(uuid4()))).status_code == 404
    assert (await end(office.grace, lent["delegation"], "wrong wrong wrong")).status_code == 401
    assert (await office.eve.get(PATH)).json() == {"delegations": []}
    assert (await office.eve.get(f"{PATH}?tenant=acme")).status_code == 404
    assert (await office.key.get(PATH)).status_code == 403
    assert (await office.key.post(PATH, json=loan())).status_code == 403
    bare = await office.grace.browser.client.post(PATH, json=loan())
    assert (bare.status_code, bare.json()["error"]["code"]) == (403, "form_not_genuine")
    assert (await end(office.grace, lent["delegation"])).status_code == 200
    assert (await end(office.grace, lent["delegation"])).status_code == 404
