"""Approvals over the API: what people and keys see, and what they may do."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any
from uuid import uuid4

import pytest

from gateway.approvals.case import State
from tests.gateway.api.offices import Office, feed
from tests.gateway.planted import PASSWORD
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_queue_and_one_answer_are_told_to_people(office: Office) -> None:
    """A held answer is in the queue with figures; by itself it is told by its records, without text: its hash is the ETag."""
    held = await office.held()
    queue = (await office.grace.get("/api/approvals")).json()
    row = next(each for each in queue["approvals"] if each["generation"] == str(held))
    assert (row["state"], row["mode"], row["decided_by"]) == ("pending", "linear_spec", [])
    assert queue["counts"]["pending"] >= 1 and queue["counts"]["unassigned"] >= 1
    shown = await office.ada.get(f"/api/approvals/{held}")
    assert shown.headers["etag"] == f'"{shown.json()["content_sha256"]}"'
    assert "text" not in shown.json() and shown.headers["cache-control"] == "no-store"


async def test_an_approval_over_the_api(office: Office) -> None:
    """The text that was read is the one that is approved, by its hash and a password; the answer says who signed."""
    held = await office.held()
    content = (await office.grace.get(f"/api/approvals/{held}/content")).json()
    assert hashlib.sha256(content["text"].encode()).hexdigest() == content["content_sha256"]
    done = await office.grace.act(f"/api/approvals/{held}/decision", content["content_sha256"], decision="approve")
    assert done.status_code == 200, done.text
    assert done.json()["state"] == "approved"
    (signed,) = done.json()["signatures"]
    assert (signed["person"], signed["meaning"], signed["method"]) == ("grace", "approval", "password")
    again = await office.grace.act(f"/api/approvals/{held}/decision", content["content_sha256"], decision="approve")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "already_decided")
    taken_back = await office.grace.act(f"/api/approvals/{held}/revoke", reason="too quick")
    assert (taken_back.status_code, taken_back.json()["state"]) == (200, "pending")


async def test_a_decision_names_what_was_looked_at(office: Office) -> None:
    """Without If-Match a decision is refused as such, with another content's hash as stale, and nothing is recorded."""
    held = await office.held()
    path = f"/api/approvals/{held}/decision"
    missing = await office.grace.act(path, decision="approve")
    assert (missing.status_code, missing.json()["error"]["code"]) == (428, "if_match_required")
    stale = await office.grace.act(path, "0" * 64, decision="approve")
    assert (stale.status_code, stale.json()["error"]["code"]) == (412, "stale_content")
    for tag in ("*", "abc", f'W/"{"0" * 64}"'):
        refused = await office.grace.post(path, {"decision": "approve", "password": PASSWORD}, **{"if-match": tag})
        assert refused.status_code == 412
    binding = await office.grace.act(path, await office.tag(held), decision="approve", binding="1" * 64)
    assert (binding.status_code, binding.json()["error"]["code"]) == (412, "stale_binding")
    assert (await office.grace.get(f"/api/approvals/{held}")).json()["signatures"] == []


async def test_an_edit_makes_what_was_looked_at_stale(office: Office) -> None:
    """After an edit a decision about the text of before is refused; the editor cannot approve the new one, another can."""
    held = await office.held()
    path, before = f"/api/approvals/{held}", await office.tag(held)
    edited = await office.lin.act(f"{path}/edit", before, text="print(2)", reason="shorter")
    assert (edited.status_code, edited.json()["cycle"]) == (200, 2)
    after = edited.headers["etag"].strip('"')
    assert after == hashlib.sha256(b"print(2)").hexdigest()
    assert (await office.grace.act(f"{path}/decision", before, decision="approve")).status_code == 412
    own = await office.lin.act(f"{path}/decision", after, decision="approve")
    assert (own.status_code, own.json()["error"]["code"]) == (403, "excluded")
    assert (await office.grace.get(f"{path}/content")).json()["text"] == "print(2)"
    assert (await office.grace.act(f"{path}/decision", after, decision="approve")).json()["state"] == "approved"


async def test_a_decision_takes_the_password(office: Office) -> None:
    """A session alone decides nothing: without a password, or with a wrong one, nothing is recorded."""
    held = await office.held()
    path, tag = f"/api/approvals/{held}/decision", await office.tag(held)
    absent = await office.lin.post(path, {"decision": "approve"}, **{"if-match": f'"{tag}"'})
    assert absent.status_code == 400
    long = await office.lin.act(path, tag, decision="approve", reason="\u00e9" * 1500)
    assert (long.status_code, long.json()["error"]["param"]) == (400, "reason")
    wrong = await office.lin.act(path, tag, "wrong wrong wrong", decision="approve")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "wrong_password")
    assert (await office.grace.get(f"/api/approvals/{held}")).json()["signatures"] == []


async def test_a_change_takes_the_token_of_the_session(office: Office) -> None:
    """A cookie alone changes nothing, whatever site began the request."""
    held = await office.held()
    client, path = office.grace.browser.client, f"/api/approvals/{held}/cancel"
    for headers in ({}, {"x-csrf-token": "0" * 64}):
        refused = await client.post(path, json={"password": PASSWORD}, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "form_not_genuine")


async def test_rejection_results_and_breaking_the_glass(office: Office) -> None:
    """The other acts do what they say, each on the content that was looked at."""
    rejected, broken = await office.held(), await office.held()
    path, tag = f"/api/approvals/{rejected}", await office.tag(rejected)
    passed = await office.grace.act(f"{path}/results", tag, name="unit tests", passed=False, detail="2 of 9 failed")
    assert passed.status_code == 200
    nameless = await office.grace.act(f"{path}/decision", tag, decision="reject")
    assert (nameless.status_code, nameless.json()["error"]["param"]) == (400, "reason_code")
    done = await office.grace.act(f"{path}/decision", tag, decision="reject", reason_code="wrong", reason="tests fail")
    assert (done.json()["state"], done.json()["words"]) == ("rejected", "tests fail")
    over = await office.lin.act(f"{path}/decision", tag, decision="approve")
    assert (over.status_code, over.json()["error"]["code"]) == (409, "ended")
    glass = await office.kay.act(
        f"/api/approvals/{broken}/decision", await office.tag(broken), decision="break_glass", reason="production is down"
    )
    assert (glass.status_code, glass.json()["broke_glass"], glass.json()["state"]) == (200, True, "approved")


async def test_a_recall_and_a_review_are_of_what_has_left(office: Office) -> None:
    """Neither is done to an answer that still waits."""
    held = await office.held()
    for act in ("recall", "review"):
        done = await office.ada.act(f"/api/approvals/{held}/{act}", reason="to be sure")
        assert (done.status_code, done.json()["error"]["code"]) == (409, "not_pending")


async def test_a_key_follows_and_gives_up_its_own_answers(office: Office) -> None:
    """The key that asked sees how its answers stand, and no text; it may cancel them, and decide nothing."""
    held = await office.held()
    listed = (await office.key.get("/api/approvals")).json()
    assert str(held) in {each["generation"] for each in listed["approvals"]} and listed["counts"] is None
    shown = await office.key.get(f"/api/approvals/{held}")
    assert set(shown.json()) == {"generation", "state", "cycle", "expires_at", "words"} and "etag" not in shown.headers
    assert (await office.key.get(f"/api/approvals/{held}/content")).status_code == 403
    assert (await office.key.post(f"/api/approvals/{held}/decision", json={})).status_code == 403
    gone = await office.key.post(f"/api/approvals/{held}/cancel", json={})
    assert (gone.status_code, gone.json()["state"]) == (200, "cancelled")


READS = ("", "/content")
ACTS = ("decision", "edit", "results", "revoke", "recall", "review", "cancel", "desk")
BODIES: dict[str, dict[str, Any]] = {
    "decision": {"decision": "approve"},
    "edit": {"text": "x", "reason": "y"},
    "results": {"name": "x", "passed": True},
    "revoke": {"reason": "x"},
    "recall": {"reason": "x"},
    "review": {"reason": "x"},
    "cancel": {},
}


async def test_another_tenants_answer_does_not_exist(office: Office) -> None:
    """Whatever people or keys of another tenant ask about an answer or do to it is a 404, as for one that never was."""
    held = await office.held()
    tag = await office.tag(held)
    for generation in (held, uuid4()):
        path = f"/api/approvals/{generation}"
        found = {(await office.eve.get(path + part)).status_code for part in READS}
        found |= {(await office.eve.act(f"{path}/{act}", tag, **BODIES[act])).status_code for act in ACTS if act != "desk"}
        found.add((await office.eve.post(f"{path}/desk", {"priority": 1})).status_code)
        headers = {"authorization": f"Bearer {office.other_key}"}
        found.add((await office.key.get(path, headers=headers)).status_code)
        found.add((await office.key.post(f"{path}/cancel", json={}, headers=headers)).status_code)
        assert found == {404}
    assert (await office.eve.get("/api/approvals")).json()["approvals"] == []
    assert (await office.eve.get("/api/approvals?tenant=acme")).status_code == 404
    assert (await office.grace.get(f"/api/approvals/{held}")).json()["state"] == State.PENDING


async def test_the_work_is_shared(office: Office) -> None:
    """Priority, assignment and lock are told in the queue; a second reader is told who is there, an auditor shares nothing."""
    held = await office.held()
    path = f"/api/approvals/{held}/desk"
    shared = (await office.grace.post(path, {"priority": 3, "assigned_to": "lin", "lock": True})).json()
    assert (shared["priority"], shared["assigned_to"], shared["locked_by"]) == (3, "lin", "grace")
    assert (await office.grace.get("/api/approvals?rows=1")).json()["approvals"][0]["generation"] == str(held)
    mine = (await office.lin.get("/api/approvals?share=mine")).json()
    assert [each["generation"] for each in mine["approvals"]] == [str(held)]
    taken = await office.lin.post(path, {"lock": True})
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "locked")
    assert (await office.grace.post(path, {"lock": False, "assigned_to": None})).json()["locked_by"] is None
    assert (await office.ada.post(path, {"priority": 1})).status_code == 403


@pytest.mark.parametrize(
    "query",
    [
        *("state=nothing", "rows=0", "rows=1000", "after=x", "expires_before=2026-01-01", "colour=red", "mode=a&mode=b"),
        "group=%00",
    ],
)
async def test_a_query_that_means_nothing_is_refused(office: Office, query: str) -> None:
    """A filter that nobody knows, twice the same, or with a value that cannot be, is a 400 and never means everything."""
    assert (await office.grace.get(f"/api/approvals?{query}")).status_code == 400


async def test_the_feed_tells_changes_as_they_come(office: Office) -> None:
    """An answer that is held and then decided comes as two events with ids and states; a client that returns misses nothing."""
    since = office.inside.house.views.queue.newest("acme")
    events: list[dict[str, Any]] = []

    async def listen() -> None:
        async for event in feed(office, since):
            events.append(event)
            if event["state"] == "cancelled":
                return

    listening = asyncio.create_task(listen())
    held = await office.held()
    await until(lambda: any(event["generation"] == str(held) for event in events))
    await office.key.post(f"/api/approvals/{held}/cancel", json={})
    await asyncio.wait_for(listening, 20)
    own = [event for event in events if event["generation"] == str(held)]
    assert [event["state"] for event in own] == ["pending", "cancelled"]
    assert all(set(event) == {"generation", "state", "cycle", "seq"} for event in own)
    assert since < own[0]["seq"] < own[1]["seq"]
    (missed,) = [event async for event in feed(office, own[0]["seq"], most=1)]
    assert missed == own[1]


async def test_the_feed_is_for_people(office: Office) -> None:
    """A key, and a place that is no record, are refused before anything is told."""
    assert (await office.key.get("/api/approvals/feed")).status_code == 403
    assert (await office.grace.get("/api/approvals/feed", **{"last-event-id": "x"})).status_code == 400
