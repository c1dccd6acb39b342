"""An answer told again from its records: the very text that was released, its account, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from audit.keys import KeyStore
from audit.records import Delivery, RequestClose
from engine.events import Event, Finished
from gateway.recall import Ending, Recall, Recalled, Unreadable
from gateway.settings import DatabaseUrl
from tests.audit.writer_samples import TENANT
from tests.gateway.housed import Housed, housed, tiny
from tests.gateway.watched import Watched
from tests.postgres_fixtures import Database


async def recalled(here: Housed, request: UUID) -> Recalled:
    """What the records tell of a request that is there."""
    found = await here.house.recall.find(TENANT, request)
    assert found is not None
    return found


async def test_an_answer_is_recalled_as_it_was_released(database: Database, tmp_path: Path) -> None:
    """Text, counts and place in the log are those of the answer: in every mode, cut by a stop string, after a restart."""
    async with housed(database, tmp_path) as here:
        name = here.house.intake.model.name
        answers = [await here.ask(model=f"{name}:{mode}", max_tokens=24) for mode in ("ar", "linear_spec", "diffusion")]
        text = answers[0].json()["choices"][0]["message"]["content"]
        answers.append(await here.ask(max_tokens=24, stop=[text[3:6]]))
    async with housed(database, tmp_path) as again:
        for answer in answers:
            document = answer.json()
            found = await recalled(again, UUID(document["palimpsest"]["generation_id"]))
            assert found.text == document["choices"][0]["message"]["content"] and found.ending is Ending.ANSWERED
            assert found.account.extension() == document["palimpsest"]
            assert '"hello"' in found.asked
        assert await again.house.recall.find(TENANT, uuid4()) is None
        assert await again.house.recall.find("system", UUID(answers[0].headers["x-request-id"])) is None


async def test_a_refusal_is_no_answer(database: Database, tmp_path: Path) -> None:
    """A request that was turned away has a record and nothing to recall."""
    async with housed(database, tmp_path) as here:
        refused = await here.ask(temperature=9)
        assert await here.house.recall.find(TENANT, UUID(refused.headers["x-request-id"])) is None


async def test_what_was_erased_or_does_not_fit_is_not_told(database: Database, tmp_path: Path) -> None:
    """Other text than was released is an error that says what to do; without the keys there is nothing to tell."""
    async with housed(database, tmp_path) as here:
        request = UUID((await here.ask()).headers["x-request-id"])
        foreign = Recall(DatabaseUrl(database.reader_url), KeyStore(tmp_path / "keys"), lambda ids: b"x" * 99)
        with pytest.raises(Unreadable, match="palimpsest audit verify"):
            await foreign.find(TENANT, request)
        keys = KeyStore(tmp_path / "keys")
        keys.destroy(keys.keys_of(TENANT, (await recalled(here, request)).opening.caller))
        fresh = Recall(DatabaseUrl(database.reader_url), KeyStore(tmp_path / "keys"), lambda ids: b"")
        assert await fresh.find(TENANT, request) is None


class LastMoment(Watched):
    """An engine whose clients leave when it has come to the end of an answer, and before they hear of it."""

    def __init__(self, leave: Callable[[], None]) -> None:
        super().__init__(tiny())
        self._loop, self._leave = asyncio.get_running_loop(), leave

    def step(self) -> list[Event]:
        """As the engine."""
        events = super().step()
        if any(isinstance(event, Finished) for event in events):
            self._loop.call_soon_threadsafe(self._leave)
        return events


async def test_who_leaves_at_the_last_moment_was_not_refused(database: Database, tmp_path: Path) -> None:
    """An answer that was whole when its client left is one that was cut, and is not told as withheld by the policy."""
    running: list[Housed] = []

    def leave() -> None:
        for generation in running[0].house._generations.values():
            generation.leave()

    async with housed(database, tmp_path, engine=LastMoment(leave)) as here:
        running.append(here)
        body = {"model": here.house.intake.model.name, "input": "hello", "max_output_tokens": 4}
        answer = await here.client.post("/v1/responses", json=body)
        request = UUID(answer.headers["x-request-id"])
        *_, delivery, close = here.log.bodies(request)
        assert isinstance(delivery, Delivery) and isinstance(close, RequestClose)
        assert (delivery.outcome, close.reason) == ("aborted", "length")
        assert (await recalled(here, request)).ending is Ending.CUT
        told = (await here.client.get(f"/v1/responses/resp_{request.hex}")).json()
        assert (told["status"], told["error"]) == ("cancelled", None)
