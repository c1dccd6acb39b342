"""Held answers at the official clients, as they are shipped, retries and all: they wait, or fail once, and never storm."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from audit.records import Kind
from engine.model import checkpoint
from tests.gateway.approvals.holding import WORDS, Holding, approver, digest, generations, holding, law, records_of
from tests.gateway.housed import housed
from tests.gateway.tooled import WEATHER, tooled_checkpoint
from tests.postgres_fixtures import Database

SAY = [{"role": "user", "content": "hello"}]


def of_openai(here: Holding) -> Any:
    """OpenAI's client over the house's own application, retrying as it likes."""
    return openai.AsyncOpenAI(api_key=here.inside.key, base_url="http://housed/v1", http_client=_wire(here))


def of_anthropic(here: Holding) -> Any:
    """Anthropic's."""
    import anthropic  # noqa: PLC0415 - seconds of imports, for whoever asks for it alone

    return anthropic.AsyncAnthropic(auth_token=here.inside.key, base_url="http://housed", http_client=_wire(here))


def _wire(here: Holding) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(here.inside.app))


async def test_clients_wait_for_an_approval(database: Database, tmp_path: Path) -> None:
    """Their streams stay open while people decide, and give the approved text as if it had just been made."""
    async with holding(database, tmp_path) as here:
        model = here.inside.house.intake.model.name
        more: dict[str, Any] = {"model": model, "max_tokens": 8}

        async def chat() -> str:
            stream = await of_openai(here).chat.completions.create(messages=SAY, stream=True, **more)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        async def messages() -> str:
            async with of_anthropic(here).messages.stream(messages=SAY, **more) as stream:
                return "".join([text async for text in stream.text_stream])

        asking = asyncio.gather(chat(), messages())
        case = await here.approve(await here.pending())
        assert {digest(text) for text in await asking} == {case.content_sha256}
        assert len(generations(here.inside)) == 1


async def test_clients_ask_once_for_what_has_to_wait(database: Database, tmp_path: Path) -> None:
    """Without a stream each gets one error that says where people decide, and does not ask again by itself."""
    import anthropic  # noqa: PLC0415 - seconds of imports, for whoever asks for it alone

    async with holding(database, tmp_path) as here:
        model, client, other = here.inside.house.intake.model.name, of_openai(here), of_anthropic(here)
        with pytest.raises(openai.BadRequestError, match="approval at http") as told:
            await client.chat.completions.create(model=model, messages=SAY, max_tokens=8)
        assert told.value.code == "approval_required"
        with pytest.raises(openai.BadRequestError, match="approval at http"):
            await client.responses.create(model=model, input="two", max_output_tokens=8)
        with pytest.raises(anthropic.ConflictError, match="approval at http"):
            await other.messages.create(model=model, messages=[{"role": "user", "content": "three"}], max_tokens=8)
        assert len(records_of(here.inside, Kind.REQUEST_OPEN)) == 3
        assert records_of(here.inside, Kind.ATTACHED) == []


async def test_clients_show_a_reviewers_words(database: Database, tmp_path: Path) -> None:
    """A rejection comes as the end of an answer: content_filter, a refusal, a failed response."""
    async with holding(database, tmp_path, law(hold_seconds=0)) as here:
        model, client, other = here.inside.house.intake.model.name, of_openai(here), of_anthropic(here)
        with pytest.raises(openai.BadRequestError):
            await client.chat.completions.create(model=model, messages=SAY, max_tokens=8)
        await here.reject(await here.pending())
        chat = await client.chat.completions.create(model=model, messages=SAY, max_tokens=8)
        assert (chat.choices[0].message.content, chat.choices[0].finish_reason) == (WORDS, "content_filter")
        message = await other.messages.create(model=model, messages=SAY, max_tokens=8)
        assert (message.stop_reason, [block.text for block in message.content]) == ("refusal", [WORDS])
        with pytest.raises(openai.BadRequestError, match=WORDS):
            await client.responses.create(model=model, input="hello", max_output_tokens=8)
        assert len(generations(here.inside)) == 1


async def test_a_held_tool_call_is_called_once_it_was_let_go(database: Database, tmp_path: Path) -> None:
    """What is approved is the text with the call in it; each dialect gives it as that dialect's own call."""
    made = checkpoint.load(tooled_checkpoint(tmp_path / "tooled"))
    function = WEATHER["function"]
    own = {"name": "weather", "description": function["description"], "input_schema": function["parameters"], "strict": True}
    async with housed(database, tmp_path, law(hold_seconds=0), made) as inside:
        here = Holding(inside, approver(database))
        asked: dict[str, Any] = {"model": made.name, "max_tokens": 120}
        must = {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False}
        with pytest.raises(openai.BadRequestError):
            await of_openai(here).chat.completions.create(messages=SAY, **must, **asked)
        await here.approve(await here.pending())
        stream = await of_openai(here).chat.completions.create(messages=SAY, stream=True, **must, **asked)
        chunks = [chunk async for chunk in stream]
        called = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
        assert called[0].function.name == "weather" and chunks[-1].choices[0].finish_reason == "tool_calls"
        choice = {"type": "any", "disable_parallel_tool_use": True}
        message = await of_anthropic(here).messages.create(messages=SAY, tools=[own], tool_choice=choice, **asked)
        (block,) = message.content
        assert message.stop_reason == "tool_use" and block.input == json.loads(called[1].function.arguments)
        assert len(generations(inside)) == 1
