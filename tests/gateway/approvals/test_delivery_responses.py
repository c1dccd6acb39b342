"""Held responses that are stored: polled, streamed again, given up, gone on from; in the background and after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from audit.records import Kind
from gateway.approvals.case import Case
from tests.gateway.approvals.holding import WORDS, Holding, approver, digest, generations, holding, law, records_of
from tests.gateway.approvals.test_delivery import RESPONSES, said
from tests.gateway.dialects.responses_grammar import ResponseReader
from tests.postgres_fixtures import Database

PATH = RESPONSES.path
"""Answers here end at their length, so a response that was let go is `incomplete`."""


async def polled(here: Holding, response: str, status: str) -> dict[str, Any]:
    """The response, asked for until it has this status."""
    async with asyncio.timeout(20):
        while True:
            answer = await here.inside.client.get(f"{PATH}/{response}")
            found: dict[str, Any] = answer.json()
            assert answer.status_code == 200 and found["status"] in ("queued", "in_progress", status), found
            if found["status"] == status and (status != "queued" or found["metadata"]):
                return found
            await asyncio.sleep(0.02)


async def begun(here: Holding, question: str, **more: Any) -> str:
    """The id of a response that is made in the background."""
    answer = await here.send(RESPONSES, question, stream=False, background=True, **more)
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    return str(answer.json()["id"])


async def test_work_in_the_background_waits_for_people(database: Database, tmp_path: Path) -> None:
    """It is queued and says where people decide, over a restart too; then it is there with exactly what they let go."""
    async with holding(database, tmp_path, base_url="https://gate.example") as here:
        response, key = await begun(here, "hello"), here.inside.key
        generation = await here.pending()
        waiting = await polled(here, response, "queued")
        url = f"https://gate.example/approvals/{generation}"
        assert waiting["metadata"] == {"approval_id": str(generation), "approval_url": url}
    async with holding(database, tmp_path) as again:
        again.inside.client.headers["authorization"] = f"Bearer {key}"
        assert (await polled(again, response, "queued"))["status"] == "queued"
        case = await again.approve(generation)
        done = await polled(again, response, "incomplete")
        assert digest(RESPONSES.whole(done)) == case.content_sha256
        assert done["palimpsest"]["approval"]["content_sha256"] == case.content_sha256.hex()
        stream = await again.inside.client.get(f"{PATH}/{response}", params={"stream": "true"})
        assert digest(said(RESPONSES, stream)) == case.content_sha256
        assert len(records_of(again.inside, Kind.APPROVED_DELIVERY)) == 2


async def test_a_held_response_is_streamed_to_whoever_waits(database: Database, tmp_path: Path) -> None:
    """Asked for as a stream while it is held, it comes as soon as it is let go, and from any event on."""
    async with holding(database, tmp_path) as here:
        response = await begun(here, "hello")
        generation = await here.pending()
        get = here.inside.client.get
        whole = asyncio.create_task(get(f"{PATH}/{response}", params={"stream": "true"}))
        rest = asyncio.create_task(get(f"{PATH}/{response}", params={"stream": "true", "starting_after": "3"}))
        await asyncio.sleep(0)
        case = await here.approve(generation)
        reader, tail = ResponseReader(), ResponseReader(after=3)
        reader.feed((await whole).content)
        tail.feed((await rest).content)
        reader.finish()
        tail.finish()
        assert digest(reader.text) == case.content_sha256
        assert tail.events[:-1] == reader.events[4:-1]
        assert reader.response is not None and tail.response is not None
        assert tail.response["output"] == reader.response["output"]


async def test_what_is_kept_back_is_told_as_failed(database: Database, tmp_path: Path) -> None:
    """A rejected response is failed in the reviewer's words whenever it is asked for; one that is given up says so."""
    async with holding(database, tmp_path) as here:
        rejected = await begun(here, "one")
        await here.reject(await here.pending())
        for _ in range(2):
            told = await polled(here, rejected, "failed")
            assert told["error"] == {"code": "invalid_prompt", "message": WORDS} and told["output"] == []
        given_up = await begun(here, "two")
        await here.pending()
        told = (await here.inside.client.post(f"{PATH}/{given_up}/cancel")).json()
        assert (told["status"], told["palimpsest"]["withheld"]) == ("failed", "approval_cancelled")
        assert len(generations(here.inside)) == 2 and records_of(here.inside, Kind.APPROVED_DELIVERY) == []


async def test_a_conversation_goes_on_from_what_was_let_go(database: Database, tmp_path: Path) -> None:
    """Nothing goes on from an answer that is held; once it has left, the next request has it in its prompt."""
    async with holding(database, tmp_path, law(hold_seconds=0)) as here:
        response = await begun(here, "hello")
        generation = await here.pending()
        early = await here.send(RESPONSES, "and?", stream=False, previous_response_id=response)
        assert early.status_code == 400 and "no whole answer" in early.json()["error"]["message"]
        await here.approve(generation)
        text = RESPONSES.whole(await polled(here, response, "incomplete"))
        await here.send(RESPONSES, "and?", stream=False, previous_response_id=response)
        following = await here.pending()
        found = await here.inside.house.recall.find("acme", following)
        assert found is not None and text in found.asked.encode().decode("unicode_escape")


async def test_nothing_goes_on_from_what_was_recalled(database: Database, tmp_path: Path) -> None:
    """An answer that was let go and then recalled is in no other prompt and told nobody: not again, and not by its question."""
    async with holding(database, tmp_path, law(hold_seconds=0)) as here:
        response = await begun(here, "hello")
        generation = await here.pending()
        await here.approve(generation)
        text = RESPONSES.whole(await polled(here, response, "incomplete"))
        approvals = here.inside.house.approvals
        recalled = await approvals.after_release("acme", generation, "recall", "wrong", approver(database, "ada"))
        assert isinstance(recalled, Case) and recalled.recalled
        more = await here.send(RESPONSES, "and?", stream=False, previous_response_id=response)
        assert more.status_code == 400 and "no whole answer" in more.json()["error"]["message"]
        told = await polled(here, response, "failed")
        again = await here.send(RESPONSES, "hello", stream=False, background=True)
        for document in (told, again.json()):
            assert document["palimpsest"]["withheld"] == "answer_recalled" and text not in str(document["output"])
        assert generations(here.inside) == [generation]


async def test_the_same_work_asked_again_is_one_response(database: Database, tmp_path: Path) -> None:
    """Asked again in the background, the answer is the response that is there: queued, then whole."""
    async with holding(database, tmp_path) as here:
        first = await begun(here, "hello")
        generation = await here.pending()
        again = await here.send(RESPONSES, "hello", stream=False, background=True)
        assert (again.json()["id"], again.json()["status"]) == (first, "queued")
        assert again.json()["metadata"]["approval_id"] == again.headers["x-approval-id"] == str(generation)
        case = await here.approve(generation)
        done = await here.send(RESPONSES, "hello", stream=False, background=True)
        assert done.json()["status"] == "incomplete"
        assert digest(RESPONSES.whole(done.json())) == case.content_sha256
        assert generations(here.inside) == [generation]
