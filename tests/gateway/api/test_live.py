"""The live feed: drafts while they are made, for people who may read content, each reading on record."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from audit.header import decode_header
from audit.lifecycle import Warrant
from audit.store import read_tenant
from engine.train.grammar import Split, task
from tests.audit.writer_samples import TENANT
from tests.gateway.api.offices import Event, Office, heard
from tests.gateway.watched import unhurried
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


def path_of(generation: UUID) -> str:
    """Where its drafts are heard."""
    return f"/api/generations/{generation}/live"


def text_of(events: list[Event]) -> str:
    """What the drafts come to, as far as they were kept."""
    words = {"run": "text", "round": "output_text", "block": "text"}
    return "".join(event.data[words[event.name]] for event in events if event.name in words)


@pytest.mark.parametrize("mode", ["ar", "linear_spec", "diffusion"])
async def test_the_drafts_are_those_on_record(office: Office, mode: str) -> None:
    """Heard from the first on they come to the text of the records, end once, and the reading is on record before."""
    made = await office.held(mode)
    before = len(office.accesses())
    events = [event async for event in heard(office, office.ada, path_of(made))]
    assert [event.name for event in events].count("end") == 1 and events[-1].name == "end"
    content = (await office.ada.get(f"/api/generations/{made}/content")).json()
    assert text_of(events).startswith(content["text"]) and content["text"]
    reading = office.accesses()[before]
    assert (reading.request, reading.requested_by) == (made, "ada") and "as they are made" in reading.reason
    assert reading.first <= min(event.id for event in events if event.id >= 0) <= events[-1].id <= reading.last


async def test_whoever_returns_hears_the_rest_and_then_nothing(office: Office) -> None:
    """After any record the feed goes on with the next one; after the last there is a 204, so that browsers stay away."""
    made = await office.held("diffusion")
    events = [event async for event in heard(office, office.ada, path_of(made))]
    for place, event in enumerate(events[:-1]):
        if event.id >= 0:
            assert [each async for each in heard(office, office.ada, path_of(made), event.id)] == events[place + 1 :]
    over = await office.ada.get(path_of(made), **{"last-event-id": str(events[-1].id)})
    assert (over.status_code, over.content) == (204, b"")


async def test_drafts_are_heard_before_the_request_ends(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the model still writes, what is on record so far is heard, and nothing that is not."""
    unhurried(office.inside, monkeypatch)
    asked: dict[str, Any] = {
        "model": office.inside.house.intake.model.name, "max_tokens": 512, "temperature": 1.0, "seed": 3,
        "messages": [{"role": "user", "content": task(6_100_000, Split.HELD_OUT).prompt}], "palimpsest": {"mode": "ar"},
    }  # fmt: skip
    known = _requests(office)
    asking = asyncio.create_task(office.key.post("/v1/chat/completions", json=asked))
    await asyncio.to_thread(eventually, lambda: len(_requests(office)) > len(known))
    (made,) = _requests(office) - known
    first: list[bool] = []
    async for event in heard(office, office.ada, path_of(made)):
        first.append(asking.done())
        assert event.id < office.inside.log.size()
    assert not first[0] and len(first) > 1
    await asking


def _requests(office: Office) -> set[UUID]:
    with read_tenant(office.site.database.reader_url, TENANT) as reader:
        return {header.request for raw in reader.headers(0, 2**62) if (header := decode_header(raw)).request is not None}


async def test_nobody_waits_for_drafts_that_are_never_made(office: Office) -> None:
    """A request that was refused, and one that an earlier generation answers, have no drafts: 204 at once."""
    known = _requests(office)
    first, again, refused = [await office.inside.ask("twice", **more) for more in ({"seed": 9}, {"seed": 9}, {"model": "none"})]
    assert first.headers["x-approval-id"] == again.headers["x-approval-id"] and refused.status_code == 404
    never = _requests(office) - known - {UUID(first.headers["x-approval-id"])}
    assert len(never) == 2
    for request in never:
        assert (await asyncio.wait_for(office.ada.get(path_of(request)), 10)).status_code == 204


async def test_nobody_comes_again_for_what_is_erased(office: Office) -> None:
    """Drafts that can no longer be read are a 410, at which a browser stays away, and no reading of them is on record."""
    made = await office.held("ar")
    (end,) = [event.id async for event in heard(office, office.ada, path_of(made)) if event.name == "end"]
    case = (await office.ada.get(f"/api/approvals/{made}")).json()
    warrant = Warrant("asked to be forgotten", "kay", "ada")
    await office.inside.house.lifecycle.erase(TENANT, case["requester"], warrant)
    before = len(office.accesses())
    statuses = [(await office.ada.get(path_of(made), **place)).status_code for place in ({}, {"last-event-id": str(end - 1)})]
    assert statuses == [410, 410]
    assert (await office.ada.get(path_of(made), **{"last-event-id": str(end)})).status_code == 204
    assert len(office.accesses()) == before


async def test_drafts_are_for_approvers_and_auditors_of_the_tenant(office: Office) -> None:
    """A key, an operator and another tenant hear nothing, and no reading is on record for them."""
    made = await office.held("diffusion")
    before = len(office.accesses())
    path = path_of(made)
    refused = {
        "key": (await office.key.get(path)).status_code,
        "operator": (await office.kay.get(path)).status_code,
        "stranger": (await office.eve.get(path)).status_code,
        "unknown": (await office.ada.get(path_of(uuid4()))).status_code,
        "place": (await office.ada.get(path, **{"last-event-id": "x"})).status_code,
        "query": (await office.ada.get(path + "?a=b")).status_code,
    }
    assert refused == {"key": 403, "operator": 403, "stranger": 404, "unknown": 404, "place": 400, "query": 400}
    assert len(office.accesses()) == before
