"""Responses after a restart: what was stored is told from the log alone, to its tenant alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from audit.keys import KeyStore
from tests.audit.writer_samples import TENANT
from tests.gateway.housed import Housed, housed
from tests.gateway.planted import plant_key, plant_tenant
from tests.postgres_fixtures import Database

PATH = "/v1/responses"


async def respond(here: Housed, question: str, **more: Any) -> httpx.Response:
    """One response."""
    body = {"model": here.house.bench.model.name, "input": question, "temperature": 0, "max_output_tokens": 16}
    return await here.client.post(PATH, json=body | more)


async def test_a_restart_loses_no_response(database: Database, tmp_path: Path) -> None:
    """Document and stream are byte for byte what they were, a conversation goes on, and another tenant sees nothing."""
    async with housed(database, tmp_path) as here:
        whole = await respond(here, "hello", metadata={"a": "b"}, instructions="Be brief.")
        stream = await respond(here, "hello", stream=True)
    async with housed(database, tmp_path) as again:
        response = whole.json()["id"]
        assert (await again.client.get(f"{PATH}/{response}")).json() == whole.json()
        second = f"{PATH}/resp_{stream.headers['x-palimpsest-generation'].replace('-', '')}"
        assert (await again.client.get(second, params={"stream": "true"})).content == stream.content
        more = await respond(again, "and?", previous_response_id=response)
        assert more.json()["previous_response_id"] == response
        plant_tenant(database.app_url, "other")
        key = plant_key(database.app_url, "other").text
        stranger = {"authorization": f"Bearer {key}"}
        assert (await again.client.get(f"{PATH}/{response}", headers=stranger)).status_code == 404
        assert (await again.client.post(f"{PATH}/{response}/cancel", headers=stranger)).status_code == 404


async def test_a_response_goes_on_without_a_word(database: Database, tmp_path: Path) -> None:
    """A request that adds nothing to the response it goes on from is answered like any other, from what was said before."""
    async with housed(database, tmp_path) as here:
        first = await respond(here, "hello")
        more = await here.client.post(
            PATH,
            json={"model": here.house.bench.model.name, "input": [], "temperature": 0, "max_output_tokens": 4}
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
