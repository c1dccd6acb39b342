"""What a checkpoint's files say decides what is served: conversations, tools, or nothing but going on with a text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from audit.records import PolicyDecision, PromptBody, RequestOpen
from engine.chat_template import ChatTemplate
from engine.model.checkpoint import LoadedModel
from engine.tokenizer import THINK_END
from gateway.replay import the
from tests.gateway.housed import Housed, housed, tiny
from tests.gateway.tenant_log import output_ids
from tests.gateway.test_admission import stricter
from tests.gateway.tooled import WEATHER
from tests.postgres_fixtures import Database

TALK = "Give me a list of numbers."
"""At this the checkpoint goes on for a while, in its thought and behind it."""
THINKING = "{{ messages[0].content }}{% if enable_thinking %}<think>{% else %}<think></think>{% endif %}"


def templated(source: str) -> LoadedModel:
    """The trained weights under another template."""
    return replace(tiny(), template=ChatTemplate(source, tiny().tokenizer))


async def test_a_base_checkpoint_only_goes_on_with_a_text(database: Database, tmp_path: Path) -> None:
    """Without a chat template a conversation is refused by name, and completions are served."""
    async with housed(database, tmp_path, model=replace(tiny(), template=None)) as inside:
        refused = await inside.ask()
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "no_chat_template")
        body = {"model": "palimpsest-tiny", "prompt": "def f", "max_tokens": 4, "temperature": 0}
        served = await inside.client.post("/v1/completions", json=body)
        assert served.status_code == 200 and served.json()["choices"][0]["text"]


async def test_a_template_without_tools_refuses_them(database: Database, tmp_path: Path) -> None:
    """Tools that the template would drop in silence are refused by name; without them the request is served."""
    async with housed(database, tmp_path, model=templated("{{ messages[0].content }}")) as inside:
        refused = await inside.ask(tools=[WEATHER])
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tools")
        assert (await inside.ask()).status_code == 200


async def test_thinking_is_told_apart(database: Database, tmp_path: Path) -> None:
    """Where the template lets the model think and the client asks for it, what comes before its end is reasoning_content."""
    async with housed(database, tmp_path, model=templated(THINKING)) as inside:
        thought = (await inside.ask(TALK, reasoning_effort="high")).json()["choices"][0]["message"]
        plain = (await inside.ask(TALK, reasoning_effort="none")).json()["choices"][0]["message"]
        held = await inside.ask(reasoning_effort="high", palimpsest={"regex": "yes|no"})
    assert thought.get("reasoning_content") and "reasoning_content" not in plain and plain["content"]
    assert held.json()["choices"][0]["message"]["content"] in ("yes", "no")


async def test_a_thought_ends_at_its_budget(database: Database, tmp_path: Path) -> None:
    """However a client says it, a thought has at most so many tokens, and the record of its request says how many."""
    budget = {"palimpsest": {"think_budget": 3}}
    body: dict[str, Any] = {"model": "palimpsest-tiny", "temperature": 0, "max_tokens": 12}
    body |= {"messages": [{"role": "user", "content": TALK}]}
    async with housed(database, tmp_path, model=templated(THINKING)) as inside:
        for mode in ("ar", "linear_spec", "diffusion"):
            free = await inside.ask(TALK, reasoning_effort="high", max_tokens=12, palimpsest={"mode": mode})
            knob = {"mode": mode, "think_budget": 3}
            bound = await inside.ask(TALK, reasoning_effort="high", max_tokens=12, palimpsest=knob)
            assert thought(inside, free) > 3 >= thought(inside, bound), mode
            assert the(RequestOpen, inside.records(bound)).think_budget == 3
            assert bound.json()["choices"][0]["message"]["content"]
        enabled = {"thinking": {"type": "enabled", "budget_tokens": 3}}
        same = await inside.client.post("/v1/messages", json=body | enabled)
        assert the(RequestOpen, inside.records(same)).think_budget == 3
        assert [block["type"] for block in same.json()["content"]] == ["thinking", "text"]
        off = await inside.client.post("/v1/messages", json=body | {"thinking": {"type": "disabled", "budget_tokens": 3}})
        assert the(RequestOpen, inside.records(off)).think_budget is None
        form = await inside.ask(reasoning_effort="high", palimpsest={"think_budget": 3, "regex": "yes|no"})
        assert form.json()["choices"][0]["message"]["content"] in ("yes", "no")
        for wrong in (enabled | {"palimpsest": {"think_budget": 4}}, {"thinking": {"type": "enabled", "budget_tokens": -1}}):
            refused = await inside.client.post("/v1/messages", json=body | budget | wrong)
            assert refused.status_code == 400 and "budget" in refused.json()["error"]["message"]


def thought(inside: Housed, answer: httpx.Response) -> int:
    """Tokens of the thought that opens an answer, by its records: its text might be cut into others."""
    ids, end = output_ids(inside.records(answer)), inside.house.intake.model.tokenizer.id_of(THINK_END)
    return ids.index(end) if end in ids else len(ids)


YES = {"palimpsest": {"regex": "yes|no"}}
SCHEMA = {"type": "json_schema", "schema": {"type": "object", "properties": {}, "additionalProperties": False}}
THINKS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "/v1/messages": ({"max_tokens": 8}, {"thinking": {"type": "enabled"}}, {"output_config": {"format": SCHEMA}}),
    "/v1/responses": ({}, {"reasoning": {"effort": "high"}}, {"text": {"format": {"name": "n"} | SCHEMA}}),
}
"""By path: what a request needs, how it asks for thoughts, and how for a form."""


async def prompt(inside: Housed, path: str, body: dict[str, Any]) -> tuple[int, ...]:
    """The ids that the model was given for this request."""
    answer = await inside.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return the(PromptBody, inside.records(answer)).ids


async def test_a_bound_answer_is_not_asked_to_think(database: Database, tmp_path: Path) -> None:
    """In every dialect the prompt of an answer that must have a form leaves no room for thoughts, whatever the client asks."""
    async with housed(database, tmp_path, model=templated(THINKING)) as inside:
        said: dict[str, Any] = {"model": "palimpsest-tiny", "temperature": 0}
        for path, (needed, thinking, form) in THINKS.items():
            name = "input" if path == "/v1/responses" else "messages"
            body = said | needed | {name: [{"role": "user", "content": "hello"}]}

            plain = await prompt(inside, path, body)
            assert await prompt(inside, path, body | thinking) != plain
            assert [await prompt(inside, path, body | thinking | bound) for bound in (YES, form)] == [plain] * 2, path
            if path == "/v1/messages":
                for bound in (YES, form):
                    counted = await inside.client.post(f"{path}/count_tokens", json=body | thinking | bound)
                    assert counted.json() == {"input_tokens": len(plain)}


async def test_what_asking_again_cannot_mend_is_a_400(database: Database, tmp_path: Path) -> None:
    """The law's 403 reaches clients of this dialect as a 400 that says not to try again; the record keeps the law's status."""
    async with housed(database, tmp_path, stricter(tmp_path)) as inside:
        refused = await inside.ask(palimpsest={"mode": "linear_spec"})
        (record,) = inside.records(refused)
        assert isinstance(record, PolicyDecision) and record.status == 403
        assert (refused.status_code, refused.headers["x-should-retry"]) == (400, "false")
