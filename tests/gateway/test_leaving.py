"""Clients that leave, at every moment and in every dialect: the steps that the engine still makes for them, their records."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from audit.records import Delivery, EngineNote, RequestClose
from engine.events import Event
from engine.model.checkpoint import LoadedModel, load
from tests.gateway.asgi import Reader
from tests.gateway.housed import CHAT, Housed, housed
from tests.gateway.watched import Watched
from tests.postgres_fixtures import Database
from tests.waiting import until

SAID = [{"role": "user", "content": "hello"}]
ASKED: dict[str, dict[str, Any]] = {
    CHAT: {"messages": SAID, "max_tokens": 2000},
    "/v1/completions": {"prompt": "hello", "max_tokens": 2000},
    "/v1/messages": {"messages": SAID, "max_tokens": 2000},
    "/v1/responses": {"input": "hello", "max_output_tokens": 2000},
}
MOMENTS: dict[str, dict[str, Any]] = {
    "before the answer begins": {"leaves_after": -1},
    "before the first event": {"leaves_after": 0},
    "in the middle": {"leaves_after": 3},
    "while it takes nothing": {"leaves_after": 2, "stuck": True},
}


class Patient(Watched):
    """An engine that, from the moment at which its client leaves, waits with its next step until the gateway has told it."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__(model)
        self.client, self.told = Reader(), threading.Event()
        self.after: list[list[Event]] = []

    def step(self) -> list[Event]:
        """As the engine; what came of steps that ended after the client had left is kept."""
        if self.client.gone.is_set():
            self.told.wait(20)
        events = super().step()
        if events and self.client.gone.is_set():
            self.after.append(events)
        return events


@pytest.fixture
def engine(endless: Path) -> Patient:
    """It never comes to an end by itself."""
    return Patient(load(endless))


@pytest.fixture
async def inside(database: Database, tmp_path: Path, endless: Path, engine: Patient) -> AsyncIterator[Housed]:
    """A house over that engine."""
    async with housed(database, tmp_path, model=load(endless), engine=engine) as running:
        yield running


async def steps_after_leaving(inside: Housed, engine: Patient, client: Reader, path: str, **more: Any) -> int:
    """The client asks and leaves: how many steps ended after that before its answers had."""
    house, engine.client = inside.house, client
    engine.after.clear()
    engine.told.clear()
    body = {"model": f"{house.intake.model.name}:ar", "temperature": 0} | ASKED[path] | more
    asking = asyncio.create_task(client.ask(inside.app, path, body, inside.key))
    at_work = house._generations
    # A step that began just before the client left may have ended its answer already.
    await until(
        lambda: client.gone.is_set() and (asking.done() or (bool(at_work) and all(each._left for each in at_work.values())))
    )
    engine.told.set()
    await until(lambda: not at_work)
    await asyncio.wait_for(asking, 20)
    return len(engine.after)


def closed(inside: Housed, request: UUID) -> None:
    """The request came to its end on record: aborted, noted, counted."""
    bodies = inside.log.bodies(request)
    *_, delivery, close = bodies
    assert isinstance(delivery, Delivery) and isinstance(close, RequestClose)
    assert (delivery.outcome, close.reason, close.records) == ("aborted", "aborted", len(bodies))
    assert any(isinstance(body, EngineNote) and body.note == "aborted" for body in bodies)


async def test_a_client_that_leaves_stops_the_work_within_a_step(inside: Housed, engine: Patient) -> None:
    """Whatever it waits for and whatever it speaks, the step in flight is the last but the one that ends its answer."""
    for path in ASKED:
        for name, moment in MOMENTS.items():
            client = Reader(**moment)
            steps = await steps_after_leaving(inside, engine, client, path, stream=True)
            assert steps <= 2, (path, name, steps)
            closed(inside, UUID(client.headers["x-request-id"]))


async def test_nobody_waits_for_a_document(inside: Housed, engine: Patient) -> None:
    """A client that leaves before its whole answer is there stops it like a stream, all of its answers."""
    for path, more in ((path, {"n": 2} if path == CHAT else {}) for path in ASKED):
        client = Reader(leaves_after=-1)
        assert await steps_after_leaving(inside, engine, client, path, **more) <= 2, path
        closed(inside, UUID(client.headers["x-request-id"]))
