"""How held answers reach their clients: each dialect, streaming or not, whatever people decide and whenever."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from audit.approvals import ApprovedDelivery
from audit.lifecycle import Warrant
from audit.records import Kind
from audit.verify import Verdict as Found
from gateway.approvals.case import Case
from gateway.http import choices, messages, responses
from gateway.http.keep_alive import kept_alive
from tests.audit.writer_samples import TENANT
from tests.gateway.approvals.holding import WORDS, Holding, approver, digest, generations, holding, law, records_of
from tests.gateway.asgi import Reader
from tests.gateway.law.test_matrix import DIALECTS, Dialect
from tests.postgres_fixtures import Database
from tests.waiting import until

CHAT, MESSAGES, RESPONSES = DIALECTS
STORMLESS: Final = {CHAT.path: 400, MESSAGES.path: 409, RESPONSES.path: 400}
"""The status at which no client of the dialect asks again by itself."""


def said(row: Dialect, answer: httpx.Response) -> str:
    """All text of an answer, whole or streamed."""
    streamed = answer.headers["content-type"].startswith("text/event-stream")
    return row.streamed(answer.text) if streamed else row.whole(answer.json())


def last(answer: httpx.Response) -> dict[str, Any]:
    """The last event of a stream that says something."""
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
    found: dict[str, Any] = json.loads(lines[-2 if lines[-1] == '{"type":"message_stop"}' else -1])
    return found


def ours(row: Dialect, answer: httpx.Response) -> dict[str, Any]:
    """What the answer says of itself, once it has ended; its words and its way to end are checked as that dialect's refusal."""
    event = last(answer)
    if row is CHAT:
        assert event["choices"][0]["finish_reason"] == "content_filter"
        return dict(event["palimpsest"]) | {"words": said(row, answer)}
    if row is MESSAGES:
        assert event["delta"]["stop_reason"] == "refusal"
        return dict(event["palimpsest"]) | {"words": said(row, answer)}
    response = event["response"]
    assert (event["type"], response["error"]["code"]) == ("response.failed", "invalid_prompt")
    return dict(response["palimpsest"]) | {"words": response["error"]["message"]}


async def deferred(here: Holding, row: Dialect, question: str) -> httpx.Response:
    """The first answer to a request that does not stream: where people decide."""
    first = await here.send(row, question, stream=False)
    (*_, generation) = generations(here.inside)
    assert first.status_code == STORMLESS[row.path], first.text
    assert first.headers["x-should-retry"] == "false" and first.headers["x-approval-id"] == str(generation)
    assert f"/approvals/{generation}" in first.json()["error"]["message"]
    if row is not MESSAGES:
        assert first.json()["error"]["code"] == "approval_required"
    return first


async def test_nobody_asks_again_for_what_is_erased(database: Database, tmp_path: Path) -> None:
    """Who waits for an answer that is erased meanwhile is told so as of any that is not let go, in words that say it."""
    async with holding(database, tmp_path, law(hold_seconds=3)) as here:
        for row in DIALECTS:
            waiting = asyncio.create_task(here.send(row, f"forget {row.path}", stream=True))
            generation = await here.pending()
            case = await here.inside.house.approvals.find(TENANT, generation)
            assert case is not None
            warrant = Warrant("asked to be forgotten", "olga", "arno")
            await here.inside.house.lifecycle.erase(TENANT, case.opened.requester, warrant)
            told = ours(row, await waiting)
            assert (told["withheld"], told["author"]) == ("answer_unreadable", "gateway") and "erased" in told["words"], told


async def test_approved_bytes_are_delivered_to_the_byte(database: Database, tmp_path: Path) -> None:
    """In each dialect, streaming or not, what was approved after a wait is what the client gets: one generation, one record."""
    async with holding(database, tmp_path) as here:
        for row in DIALECTS:
            streaming = asyncio.create_task(here.send(row, f"stream {row.path}", stream=True))
            generation = await here.pending()
            case = await here.approve(generation)
            answer = await streaming
            assert digest(said(row, answer)) == case.content_sha256, row.path
            await deferred(here, row, f"whole {row.path}")
            generation = await here.pending()
            case = await here.approve(generation)
            answer = await here.send(row, f"whole {row.path}", stream=False)
            assert answer.status_code == 200 and digest(said(row, answer)) == case.content_sha256, row.path
            assert answer.headers["x-palimpsest-generation"] == str(generation) == answer.headers["x-approval-id"]
            approval = answer.json()["palimpsest"]["approval"]
            assert approval == {"id": str(generation), "content_sha256": case.content_sha256.hex()}
        assert len(generations(here.inside)) == 2 * len(DIALECTS)
        deliveries = [body for _, body in records_of(here.inside, Kind.APPROVED_DELIVERY)]
        assert len(deliveries) == 2 * len(DIALECTS)
        assert all(isinstance(each, ApprovedDelivery) and each.bytes_released for each in deliveries)
    assert here.inside.log.verified(tmp_path / "bundle").verdict is Found.VERIFIED


async def test_a_rejection_is_told_in_the_reviewers_words(database: Database, tmp_path: Path) -> None:
    """Streaming or asked again, the client is shown why, marked as not the model's; however often, it is one generation."""
    async with holding(database, tmp_path) as here:
        for row in DIALECTS:
            streaming = asyncio.create_task(here.send(row, row.path, stream=True))
            generation = await here.pending()
            await here.reject(generation)
            told = ours(row, await streaming)
            assert told["words"] == WORDS
            assert (told["author"], told["withheld"]) == ("gateway", "answer_rejected")
            assert told["approval"] == {"id": str(generation)}
            before = len(generations(here.inside))
            for _ in range(3):
                again = await here.send(row, row.path, stream=False)
                assert WORDS in again.text
                assert again.status_code == (400 if row is RESPONSES else 200)
                assert row is RESPONSES or again.headers["x-palimpsest-author"] == "gateway"
            assert len(generations(here.inside)) == before
        assert records_of(here.inside, Kind.APPROVED_DELIVERY) == []
    assert here.inside.log.verified(tmp_path / "bundle").verdict is Found.VERIFIED


async def test_nobody_deciding_in_time_ends_the_wait(database: Database, tmp_path: Path) -> None:
    """An approval that expires while a client waits is told as such in each dialect, and nothing of the answer leaves."""
    async with holding(database, tmp_path, law(hold_seconds=30, expires_seconds=1)) as here:
        answers = await asyncio.gather(*(here.send(row, row.path, stream=True) for row in DIALECTS))
        for row, answer in zip(DIALECTS, answers, strict=True):
            told = ours(row, answer)
            assert told["withheld"] == "approval_expired" and "nobody decided in time" in told["words"]
        again = await here.send(CHAT, CHAT.path, stream=False)
        assert again.json()["choices"][0]["finish_reason"] == "content_filter"
        assert len(generations(here.inside)) == len(DIALECTS)
        assert records_of(here.inside, Kind.APPROVED_DELIVERY) == []


async def test_an_approval_of_a_gateway_at_an_ipv6_address_can_be_opened(database: Database, tmp_path: Path) -> None:
    """Where nobody said how people come, they are told host and port, an IPv6 address in the brackets that URLs take."""
    async with holding(database, tmp_path, law(), host="::1") as here:
        first = await deferred(here, CHAT, "hello")
        assert "http://[::1]:8017/approvals/" in first.json()["error"]["message"]


async def test_a_stream_that_has_waited_long_enough_says_where_to_look(database: Database, tmp_path: Path) -> None:
    """After the hold limit the stream ends with the approval's address; what is approved then waits for the same question."""
    async with holding(database, tmp_path, law(hold_seconds=0), base_url="https://gate.example") as here:
        for row in DIALECTS:
            told = ours(row, await here.send(row, row.path, stream=True))
            generation = await here.pending()
            assert f"https://gate.example/approvals/{generation}" in told["words"]
            assert (told["author"], told["withheld"]) == ("gateway", "approval_required")
            case = await here.approve(generation)
            answer = await here.send(row, row.path, stream=True)
            assert digest(said(row, answer)) == case.content_sha256
            assert answer.headers["x-approval-id"] == str(generation)
        assert len(generations(here.inside)) == len(DIALECTS)


@pytest.mark.parametrize("row", DIALECTS, ids=lambda row: row.path)
async def test_a_storm_of_retries_is_one_generation(database: Database, tmp_path: Path, row: Dialect) -> None:
    """Twenty clients that ask the same at once share one generation and one approval; each of them is on record by itself."""
    async with holding(database, tmp_path) as here:
        streams = [asyncio.create_task(here.send(row, "storm", stream=True)) for _ in range(10)]
        wholes = [asyncio.create_task(here.send(row, "storm", stream=False)) for _ in range(10)]
        generation = await here.pending()
        for whole in await asyncio.gather(*wholes):
            assert whole.status_code == STORMLESS[row.path]
        case = await here.approve(generation)
        answers = await asyncio.gather(*streams)
        assert {digest(said(row, answer)) for answer in answers} == {case.content_sha256}
        assert generations(here.inside) == [generation]
        assert len(records_of(here.inside, Kind.REQUEST_OPEN)) == 1
        assert len(records_of(here.inside, Kind.ATTACHED)) == 19
        assert len(records_of(here.inside, Kind.APPROVED_DELIVERY)) == 10
    assert here.inside.log.verified(tmp_path / "bundle").verdict is Found.VERIFIED


async def test_an_edited_answer_is_what_leaves(database: Database, tmp_path: Path) -> None:
    """Where a person wrote another text, that text comes, marked as a person's; on record is which one."""
    async with holding(database, tmp_path, law(hold_seconds=0, more="edit_allowed = true\n")) as here:
        await here.send(CHAT, "hello", stream=True)
        generation = await here.pending()
        case = await here.inside.house.approvals.find(TENANT, generation)
        assert case is not None
        editor = approver(database, "ada")
        edited = await here.inside.house.approvals.edit(
            TENANT, generation, "By hand: ü", "clearer", editor, case.content_sha256
        )
        assert isinstance(edited, Case)
        await here.approve(generation)
        for row in DIALECTS:
            answer = await here.send(row, "hello", stream=False)
            assert said(row, answer) == "By hand: ü"
            approval = answer.json()["palimpsest"]["approval"]
            assert (approval["author"], approval["content_sha256"]) == ("reviewer", digest("By hand: ü").hex())
        assert generations(here.inside) == [generation]
    assert here.inside.log.verified(tmp_path / "bundle").verdict is Found.VERIFIED


async def test_a_gateway_that_leaves_keeps_nobody_waiting(database: Database, tmp_path: Path) -> None:
    """Told to stop, it ends the streams that wait for people at once, with the address of the approval, which stays."""
    async with holding(database, tmp_path, law(hold_seconds=3600, expires_seconds=7200)) as here:
        waiting = asyncio.create_task(here.send(CHAT, "hello", stream=True))
        generation = await here.pending()
        here.inside.house.leaving = lambda: True
        told = ours(CHAT, await waiting)
        assert told["withheld"] == "approval_required" and told["approval"] == {"id": str(generation)}
        await here.approve(generation)


SIGNS: Final = {
    CHAT.path: (b": still here\n\n", 1),
    MESSAGES.path: (b'event: ping\ndata: {"type":"ping"}\n\n: ', 1),
    RESPONSES.path: (b"event: response.in_progress\ndata: ", 2),
}
"""What a client of the dialect counts as a sign of life, and how often it must have come for one to be a repeated one."""


@pytest.mark.parametrize("row", DIALECTS, ids=lambda row: row.path)
async def test_who_waits_for_people_sees_signs_of_life(
    database: Database, tmp_path: Path, row: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream begins at once and says in the dialect's own way that it lives, until the approved text comes on it."""
    for module in (choices, messages, responses):
        monkeypatch.setattr(module, "kept_alive", partial(kept_alive, seconds=0.05))
    sign, least = SIGNS[row.path]
    async with holding(database, tmp_path) as here:
        body = row.body(here.inside.house.intake.model.name, "linear_spec", True)
        reader = Reader()
        asking = asyncio.create_task(reader.ask(here.inside.app, row.path, body, here.inside.key))
        generation = await here.pending()
        seen = reader.data.count(sign)
        await until(lambda: reader.data.count(sign) >= max(least, seen + 2))
        assert reader.status == 200
        case = await here.approve(generation)
        await asking
        assert digest(row.streamed(reader.data.decode())) == case.content_sha256
