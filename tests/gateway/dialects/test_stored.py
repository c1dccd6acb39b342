"""Responses after a restart: what was stored is told from the log alone, to the key that asked for it alone."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from audit.keys import KeyStore
from engine.train.grammar import Split, task
from gateway.cancelling import NAME
from gateway.dialects.responses.retold import head_of
from gateway.http import responses
from gateway.law.lawbook import Standing
from tests.audit.writer_samples import TENANT
from tests.gateway.dialects.test_responses_clients import read
from tests.gateway.housed import Housed, housed
from tests.gateway.law.test_matrix import law
from tests.gateway.planted import plant_key, plant_tenant
from tests.gateway.test_checkpoints_served import TALK, THINKING, templated
from tests.gateway.watched import unhurried
from tests.postgres_fixtures import Database
from tests.waiting import eventually

PATH = "/v1/responses"


def id_of(answer: httpx.Response) -> str:
    """The id of a response that was streamed."""
    return f"resp_{answer.headers['x-palimpsest-generation'].replace('-', '')}"


def body(here: Housed, question: str | list[dict[str, Any]]) -> dict[str, Any]:
    """What asks for a short response."""
    return {"model": here.house.intake.model.name, "input": question, "temperature": 0, "max_output_tokens": 16}


async def respond(here: Housed, question: str | list[dict[str, Any]], **more: Any) -> httpx.Response:
    """One response."""
    return await here.client.post(PATH, json=body(here, question) | more)


async def asked_in(here: Housed, answer: httpx.Response) -> object:
    """The conversation of its request, by the record."""
    found = await here.house.recall.find(TENANT, UUID(answer.headers["x-palimpsest-generation"]))
    assert found is not None
    return head_of(found).prompt


async def test_a_restart_loses_no_response(database: Database, tmp_path: Path) -> None:
    """Document and stream are byte for byte what they were, a conversation goes on, and another tenant sees nothing."""
    async with housed(database, tmp_path) as here:
        whole = await respond(here, "hello", metadata={"a": "b"}, instructions="Be brief.")
        stream = await respond(here, "hello", stream=True)
    async with housed(database, tmp_path) as again:
        again.client.headers["authorization"] = f"Bearer {here.key}"
        response = whole.json()["id"]
        assert (await again.client.get(f"{PATH}/{response}")).json() == whole.json()
        second = f"{PATH}/{id_of(stream)}"
        assert (await again.client.get(second, params={"stream": "true"})).content == stream.content
        more = await respond(again, "and?", previous_response_id=response)
        assert more.json()["previous_response_id"] == response
        plant_tenant(database.app_url, "other")
        key = plant_key(database.app_url, "other").text
        stranger = {"authorization": f"Bearer {key}"}
        assert (await again.client.get(f"{PATH}/{response}", headers=stranger)).status_code == 404
        assert (await again.client.post(f"{PATH}/{response}/cancel", headers=stranger)).status_code == 404


async def test_a_response_is_for_the_key_that_asked(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another key of the same tenant can neither read, go on from, nor cancel a response, be it over or running."""
    async with housed(database, tmp_path) as here:
        unhurried(here, monkeypatch)
        key = plant_key(database.app_url, TENANT).text
        other = {"authorization": f"Bearer {key}"}
        done = (await respond(here, "hello")).json()["id"]
        runs = {"background": True, "temperature": 1, "max_output_tokens": 512, "seed": 3, "palimpsest": {"mode": "ar"}}
        running = (await respond(here, task(6_100_000, Split.HELD_OUT).prompt, **runs)).json()["id"]
        for response in (done, running):
            for stream in ("false", "true"):
                told = await here.client.get(f"{PATH}/{response}", params={"stream": stream}, headers=other)
                assert told.status_code == 404
            assert (await here.client.post(f"{PATH}/{response}/cancel", headers=other)).status_code == 404
            gone = await here.client.post(PATH, json=body(here, "and?") | {"previous_response_id": response}, headers=other)
            assert (gone.status_code, gone.json()["error"]["code"]) == (400, "previous_response_not_found")
        assert (await here.client.get(f"{PATH}/{running}")).json()["status"] == "in_progress"
        assert (await here.client.post(f"{PATH}/{running}/cancel")).json()["status"] == "cancelled"


def listeners(database: Database, act: str) -> int:
    """How many sessions listen for cancels, after doing this to each."""
    query = "SELECT count({}) FROM pg_stat_activity WHERE datname = %s AND application_name = %s"
    with psycopg.connect(database.superuser_url) as connection:
        (count,) = connection.execute(query.format(act).encode(), (database.name, NAME)).fetchone() or (0,)
    return int(count)


async def test_what_another_process_works_on_can_be_cancelled(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancel at any gateway process stops background work of another, also after the listener's session was lost."""
    question, wandering = task(6_100_000, Split.HELD_OUT).prompt, {"mode": "ar"}
    asked = {"background": True, "temperature": 1, "max_output_tokens": 512, "seed": 3, "palimpsest": wandering}
    async with housed(database, tmp_path) as here, housed(database, tmp_path) as beside:
        unhurried(here, monkeypatch)
        beside.client.headers["authorization"] = f"Bearer {here.key}"
        for _ in range(2):
            await asyncio.to_thread(eventually, lambda: listeners(database, "pid") == 2)
            begun = (await respond(here, question, **asked)).json()
            told = await beside.client.post(f"{PATH}/{begun['id']}/cancel")
            assert (told.status_code, told.json()["status"]) == (200, "cancelled")
            assert (await here.client.get(f"{PATH}/{begun['id']}")).json() == told.json()
            assert listeners(database, "pg_terminate_backend(pid, 5000)") == 2


async def test_log_probabilities_are_told_again(database: Database, tmp_path: Path) -> None:
    """Asked for by `include`, every token of the text has its own, and the same from the records; else there are none."""
    scored = {"include": ["message.output_text.logprobs", "reasoning.encrypted_content"], "top_logprobs": 2}
    async with housed(database, tmp_path) as here:
        for mode in ("linear_spec", "diffusion", "ar"):
            asked: dict[str, Any] = {"stream": True, "palimpsest": {"mode": mode}, **scored}
            stream = await respond(here, "hello", **asked)
            again = await here.client.get(f"{PATH}/{id_of(stream)}", params={"stream": "true"})
            assert again.content == stream.content
            (part,) = read(stream.content).items[0]["content"]
            assert bytes(byte for token in part["logprobs"] for byte in token["bytes"]) == part["text"].encode() != b""
            assert {len(token["top_logprobs"]) for token in part["logprobs"]} == {2}
            assert all(token["logprob"] <= token["top_logprobs"][0]["logprob"] for token in part["logprobs"])
        plain = (await respond(here, "hello")).json()
        assert plain["output"][0]["content"][0]["logprobs"] == [] and plain["top_logprobs"] == 0
        wrong = await respond(here, "hello", top_logprobs=21)
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "top_logprobs")


async def test_tokens_of_thoughts_are_counted(database: Database, tmp_path: Path) -> None:
    """What the model thinks counts as reasoning in the usage, and the same when it is told again."""
    async with housed(database, tmp_path, model=templated(THINKING)) as here:
        answer = (await respond(here, TALK, reasoning={"effort": "high"})).json()
        assert answer["output"][0]["type"] == "reasoning"
        thought = answer["usage"]["output_tokens_details"]["reasoning_tokens"]
        assert 0 < thought <= answer["usage"]["output_tokens"]
        assert (await here.client.get(f"{PATH}/{answer['id']}")).json() == answer
        unthought = (await respond(here, TALK)).json()
        assert unthought["usage"]["output_tokens_details"]["reasoning_tokens"] == 0


async def test_a_reference_stands_for_an_item_of_a_stored_response(database: Database, tmp_path: Path) -> None:
    """A request that refers to items asks, by its record, what one that holds them asks; there are those of its key alone."""
    async with housed(database, tmp_path, model=templated(THINKING)) as here:
        said = (await respond(here, TALK, reasoning={"effort": "high"}, palimpsest={"think_budget": 4})).json()
        hidden = (await respond(here, TALK, store=False)).json()
        before, after = {"role": "user", "content": TALK}, {"role": "user", "content": "and?"}
        references = [{"type": "item_reference", "id": item["id"]} for item in said["output"]]
        assert [item["type"] for item in said["output"]] == ["reasoning", "message"]
        asked = [await asked_in(here, await respond(here, [before, *more, after])) for more in (said["output"], references)]
        assert asked[0] == asked[1]
        stranger = {"authorization": f"Bearer {plant_key(database.app_url, TENANT).text}"}
        own = {"authorization": f"Bearer {here.key}"}
        last, unkept = said["output"][-1]["id"], hidden["output"][0]["id"]
        for headers, item in ((stranger, last), (own, unkept), (own, f"{last}0"), (own, "msg_1"), (own, None)):
            items: list[dict[str, Any]] = [before, {"type": "item_reference", "id": item}, after]
            gone = await here.client.post(PATH, json=body(here, items), headers=headers)
            error = gone.json()["error"]
            assert (gone.status_code, error["code"], error["param"]) == (400, "item_not_found", "input[1].id")


async def test_a_reference_to_what_was_said_says_it_no_second_time(database: Database, tmp_path: Path) -> None:
    """An item of the response that a request goes on from, or one that stands before, is in the prompt once."""
    async with housed(database, tmp_path) as here:
        first = (await respond(here, TALK)).json()
        again = (await respond(here, "and?", previous_response_id=first["id"])).json()
        items = [{"type": "item_reference", "id": each["output"][0]["id"]} for each in (first, again)]
        after = {"role": "user", "content": "so?"}
        for start, more in (
            ({"previous_response_id": again["id"]}, ([], items, [items[1], items[1], items[0]])),
            ({}, ([items[0]], [items[0], items[0]], [first["output"][0], items[0]])),
        ):
            answers = [await respond(here, [*each, after], **start) for each in more]
            one, *others = [await asked_in(here, answer) for answer in answers]
            assert others == [one, one]


async def test_remarks_of_the_policy_are_told_again(database: Database, tmp_path: Path) -> None:
    """What annotates an answer is on record, and with it whenever it is told."""
    async with housed(database, tmp_path) as here:
        here.house.laws.replace({TENANT: Standing(law("annotate", "linear_spec"))})
        answer = (await respond(here, "hello", palimpsest={"mode": "linear_spec"})).json()
        assert answer["palimpsest"]["annotations"] == ["gate:g"]
        assert (await here.client.get(f"{PATH}/{answer['id']}")).json() == answer


async def test_a_response_goes_on_without_a_word(database: Database, tmp_path: Path) -> None:
    """A request that adds nothing to the response it goes on from is answered like any other, from what was said before."""
    async with housed(database, tmp_path) as here:
        first = await respond(here, "hello")
        more = await here.client.post(
            PATH,
            json={"model": here.house.intake.model.name, "input": [], "temperature": 0, "max_output_tokens": 4}
            | {"previous_response_id": first.json()["id"]},
        )
        assert more.status_code == 200 and more.json()["previous_response_id"] == first.json()["id"]
    assert here.log.unfinished() == []


async def test_an_erased_response_is_gone(database: Database, tmp_path: Path) -> None:
    """With the keys of its caller the response is gone: 404, and nothing goes on from it."""
    async with housed(database, tmp_path) as here:
        answer = await respond(here, "hello")
        found = await here.house.recall.find(TENANT, UUID(answer.headers["x-palimpsest-generation"]))
        assert found is not None
        keys = KeyStore(tmp_path / "keys")
        keys.destroy(keys.keys_of(TENANT, found.opening.caller))
        response = answer.json()["id"]
        assert (await here.client.get(f"{PATH}/{response}")).status_code == 404
        gone = await respond(here, "and?", previous_response_id=response)
        assert (gone.status_code, gone.json()["error"]["code"]) == (400, "previous_response_not_found")


async def test_what_is_long_is_read_beside_the_loop(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A big request, and whatever is told or goes on from its record, keeps nobody waiting; a small one needs no thread."""
    found: list[tuple[str, bool]] = []

    def watched(name: str) -> Any:
        work = getattr(responses, name)

        def watching(*given: Any) -> Any:
            found.append((name, threading.current_thread() is threading.main_thread()))
            return work(*given)

        return watching

    for name in ("chat_of", "head_of", "retold", "conversation"):
        monkeypatch.setattr(responses, name, watched(name))
    async with housed(database, tmp_path) as here:
        for metadata, on_loop in (({}, True), ({"a": "y" * 100_000}, False)):
            found.clear()
            asked = await respond(here, "hello", metadata=metadata)
            own = f"{PATH}/{asked.json()['id']}"
            assert (await here.client.get(own)).json() == asked.json()
            assert (await here.client.get(own, params={"stream": "true"})).status_code == 200
            assert (await here.client.post(f"{own}/cancel")).json() == asked.json()
            assert {name for name, _ in found} == {"chat_of", "head_of", "retold"}
            assert {place for _, place in found} == {on_loop}, found
            found.clear()
            await respond(here, "and?", previous_response_id=asked.json()["id"])
            assert ("conversation", on_loop) in found and ("chat_of", False) in found
