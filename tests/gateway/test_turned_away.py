"""What the engine will not begin reaches its client with the status that it deserves, and is closed in the log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from audit.records import Delivery, EngineNote, RequestClose, RequestOpen
from audit.verify import Verdict
from engine.request import Mode
from tests.engine.harness import asked, model
from tests.gateway.housed import Housed, housed, tiny
from tests.postgres_fixtures import Database
from tests.waiting import until


def closed(inside: Housed, answer: httpx.Response, detail: str) -> None:
    """The request was opened, the engine's refusal was noted, nothing was delivered, and the close counts it all."""
    opening, _, _, note, delivery, close = inside.records(answer)
    assert isinstance(opening, RequestOpen) and isinstance(note, EngineNote)
    assert note.note == "refused" and note.detail.startswith(detail)
    assert isinstance(delivery, Delivery) and (delivery.bytes_released, delivery.outcome) == (0, "aborted")
    assert isinstance(close, RequestClose) and (close.tokens, close.records, close.reason) == (0, 6, "fault")
    assert inside.log.unfinished() == []


@pytest.mark.parametrize("more", [{}, {"stream": True}], ids=["whole", "stream"])
async def test_a_busy_engine_is_429(database: Database, tmp_path: Path, more: dict[str, Any]) -> None:
    """A full line is told as 429 with Retry-After, streamed or not, and the same request is served once there is room."""
    async with housed(database, tmp_path, max_generations="1") as inside:
        engine = inside.house.intake.engine
        engine.pause()
        other = asked(Mode.AR, tokens=1)
        engine.submit(other)
        answer = await inside.ask(**more)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["type"]) == (429, "overloaded", "rate_limit_error")
        assert int(answer.headers["retry-after"]) >= 1
        closed(inside, answer, "Busy: ")
        engine.resume()
        await until(engine.idle)
        assert (await inside.ask(**more)).status_code == 200
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_a_gateway_that_is_down_says_when_to_ask_again(database: Database, tmp_path: Path) -> None:
    """Readiness and requests that cannot be served both get a 503 with Retry-After; a ready gateway promises nothing."""
    async with housed(database, tmp_path) as inside:
        ready = await inside.client.get("/health/ready")
        assert ready.status_code == 200 and "retry-after" not in ready.headers
        await inside.house.engine.stop()
        for answer in (await inside.client.get("/health/ready"), await inside.ask(), await inside.ask(stream=True)):
            assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("more", [{}, {"stream": True}], ids=["whole", "stream"])
async def test_what_can_never_run_is_400(database: Database, tmp_path: Path, more: dict[str, Any]) -> None:
    """What admission let through and the engine finds wrong is the client's error, in the engine's own words."""
    knows_less_than_its_tokenizer = replace(model(vocab_size=128), template=tiny().template)
    async with housed(database, tmp_path, model=knows_less_than_its_tokenizer) as inside:
        answer = await inside.ask(**more)
        error = answer.json()["error"]
        assert (answer.status_code, error["type"], error["code"]) == (400, "invalid_request_error", "invalid_request")
        assert "outside the vocabulary" in error["message"] and "retry-after" not in answer.headers
        closed(inside, answer, "InvalidRequest: ")
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED
