"""Generations over the API: figures for many, content for few, and each reading on record."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from audit.lifecycle import Warrant
from audit.records import BlockTrace, SpecRounds
from audit.trace import decode_steps
from tests.audit.writer_samples import TENANT
from tests.gateway.api.offices import Office, Person

pytestmark = pytest.mark.asyncio(loop_scope="module")


def content_paths(generation: UUID, *parts: str) -> list[str]:
    """Addresses of the content of a generation."""
    return [f"/api/generations/{generation}/{part}" for part in ("content", *parts)]


async def test_generations_are_listed_and_found(office: Office) -> None:
    """A person finds a tenant's generations by what is known of them, page by page; a key finds its own."""
    made = [await office.held(mode) for mode in ("diffusion", "linear_spec")]
    page = (await office.ada.get("/api/generations?rows=1")).json()
    following = (await office.ada.get(f"/api/generations?rows=1&after={page['next']}")).json()
    assert [page["generations"][0]["id"], following["generations"][0]["id"]] == [str(each) for each in made[::-1]]
    found = (await office.ada.get("/api/generations?mode=diffusion&state=pending&since=2026-01-01T00:00:00Z")).json()
    assert [each["id"] for each in found["generations"]] == [str(made[0])]
    keys = (await office.key.get("/api/generations")).json()["generations"]
    assert {str(each) for each in made} <= {each["id"] for each in keys}
    one = (await office.key.get(f"/api/generations/{made[0]}")).json()
    assert one == found["generations"][0]
    assert (one["state"], one["mode"], one["tokens"] > 0) == ("pending", "diffusion", True)


async def test_every_state_of_a_block_is_the_recorded_one(office: Office) -> None:
    """Blocks and steps are told as the log has them, position by position."""
    made = await office.held("diffusion")
    blocks = [body for body in office.inside.log.bodies(made) if isinstance(body, BlockTrace)]
    content = (await office.ada.get(f"/api/generations/{made}/content")).json()
    assert content["blocks"] == [block.index for block in blocks] and content["rounds"] == []
    assert "Write a function" in content["prompt"] and content["text"]
    trace = blocks[0]
    block = (await office.ada.get(f"/api/generations/{made}/blocks/{trace.index}")).json()
    assert (block["ids"], block["steps"], block["emitted"]) == (list(trace.tokens), trace.steps.steps, trace.emitted)
    for number, step in enumerate(decode_steps(trace)):
        told = (await office.ada.get(f"/api/generations/{made}/blocks/{trace.index}/steps/{number}")).json()
        assert (told["ids"], told["masked"]) == (list(step.proposal), list(step.masked))
        assert (told["committed"], told["confidence"]) == (list(step.committed), list(step.confidence))


async def test_every_round_is_the_recorded_one(office: Office) -> None:
    """A draft, its verification and what was kept of it are told as the log has them."""
    made = await office.held("linear_spec")
    rounds = [each for body in office.inside.log.bodies(made) if isinstance(body, SpecRounds) for each in body.rounds]
    assert rounds
    for trace in rounds:
        told = (await office.ada.get(f"/api/generations/{made}/rounds/{trace.index}")).json()
        assert (told["draft"], told["verified"], told["accepted"]) == (list(trace.draft), list(trace.verified), trace.accepted)
        assert (told["output"], told["logprob"]) == (list(trace.output), list(trace.logprob))


async def test_every_reading_of_content_is_on_record(office: Office) -> None:
    """Each answer with content in it has an access of its own in the log: who, which records, and what of them."""
    made = await office.held("diffusion")
    paths = content_paths(made, "blocks/0", "blocks/0/steps/0")
    before = len(office.accesses())
    for path in paths:
        assert (await office.grace.get(path)).status_code == 200
    assert (await office.grace.get(f"/api/approvals/{made}/content")).status_code == 200
    accesses = office.accesses()[before:]
    assert [(each.request, each.requested_by) for each in accesses] == [(made, "grace")] * 4
    reasons = ("read prompt and answer", "read block 0", "read step 0 of block 0", "read the held text of cycle 1")
    assert tuple(each.reason.removesuffix(", by the API") for each in accesses) == reasons
    figures = ("/api/generations", f"/api/generations/{made}", "/api/approvals", f"/api/approvals/{made}", "/api/economics")
    for path in figures:
        assert (await office.kay.get(path)).status_code == 200
    assert len(office.accesses()) == before + 4


async def test_content_is_for_approvers_and_auditors(office: Office) -> None:
    """Whoever runs the house, and the key that asked, read no content; nothing of the attempt is a reading."""
    made = await office.held("diffusion")
    before = len(office.accesses())
    for path in (*content_paths(made, "blocks/0", "blocks/0/steps/0", "rounds/0"), f"/api/approvals/{made}/content"):
        assert (await office.kay.get(path)).status_code == 403
        assert (await office.key.get(path)).status_code == 403
    assert len(office.accesses()) == before


async def test_another_tenants_generation_does_not_exist(office: Office) -> None:
    """For people and keys of another tenant a generation is a 404 at each of its addresses, as one that never was."""
    made = await office.held("diffusion")
    before = len(office.accesses())
    for generation in (made, uuid4()):
        paths = content_paths(generation, "blocks/0", "blocks/0/steps/0", "rounds/0")
        found = {(await office.eve.get(path)).status_code for path in paths}
        found.add((await office.eve.get(f"/api/generations/{generation}")).status_code)
        headers = {"authorization": f"Bearer {office.other_key}"}
        found.add((await office.key.get(f"/api/generations/{generation}", headers=headers)).status_code)
        assert found == {404}
    assert (await office.eve.get("/api/generations")).json()["generations"] == []
    assert (await office.eve.get(f"/api/generations?tenant={TENANT}")).status_code == 404
    assert len(office.accesses()) == before


@pytest.mark.parametrize("part", ["blocks/99", "blocks/0/steps/99", "blocks/-1", "rounds/99"])
async def test_what_is_not_there_is_a_404(office: Office, part: str) -> None:
    """A block, a step or a round that the generation does not have is not found."""
    made = await office.held("diffusion")
    assert (await office.ada.get(f"/api/generations/{made}/{part}")).status_code == 404


async def test_nobody_sees_anything_without_proof(office: Office) -> None:
    """Without session and key, or with those that are none, every address but the description is a 401."""
    made = uuid4()
    async with office.site.browser() as browser:
        stranger = Person(browser)
        for path in ("/api/approvals", f"/api/approvals/{made}", "/api/generations", "/api/economics", "/api/approvals/feed"):
            assert (await stranger.get(path)).status_code == 401
            assert (await stranger.get(path, authorization="Bearer pal-nobody")).status_code == 401
            assert (await stranger.get(path, cookie="palimpsest_session=nobody")).status_code == 401


async def test_economics_over_the_api(office: Office) -> None:
    """Sums by mode and day are for those who run, audit or govern; approvers and keys have no part in them."""
    await office.held("ar")
    told = (await office.kay.get("/api/economics")).json()
    modes = {each["mode"]: each for each in told["modes"]}
    assert modes["ar"]["generations"] >= 1 and modes["ar"]["held_share"] == 1.0
    assert modes["ar"]["tokens_per_forward"] == modes["ar"]["tokens"] / modes["ar"]["forwards"]
    assert 0 < modes["ar"]["busy_seconds"] <= modes["ar"]["seconds"]
    assert len(told["days"]) >= 1
    assert (await office.grace.get("/api/economics")).status_code == 403
    assert (await office.key.get("/api/economics")).status_code == 403
    for query in ("since=2026-02-30", "since=2026-03-01&until=2026-02-01", "since=1000-01-01&until=2026-01-01"):
        assert (await office.kay.get(f"/api/economics?{query}")).status_code == 400


async def test_erased_content_is_gone(office: Office) -> None:
    """After an erasure content is a 410, the attempt is on record, and figures are those that headers tell."""
    made = await office.held("diffusion")
    row = (await office.ada.get(f"/api/generations/{made}")).json()
    house = office.inside.house
    await house.lifecycle.erase(TENANT, row["caller"], Warrant("asked to", "kay", "ada"))
    await house.projector.look(TENANT)
    assert (await office.ada.get(f"/api/generations/{made}/content")).status_code == 410
    assert (await office.ada.get(f"/api/approvals/{made}")).status_code == 410
    erased = (await office.ada.get(f"/api/generations/{made}")).json()
    assert (erased["state"], erased["erased"], erased["tokens"], erased["mode"]) == ("erased", True, 0, "")
    assert str(made) not in {each["generation"] for each in (await office.ada.get("/api/approvals")).json()["approvals"]}
