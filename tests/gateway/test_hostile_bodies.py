"""Bodies that are too big, too deep or too odd are served or refused in words; what they cost others `tests.bench.lag` says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from audit.records import PolicyDecision, RequestAbandoned
from tests.gateway.housed import CHAT, Housed, housed
from tests.gateway.tooled import WEATHER, tooled
from tests.postgres_fixtures import Database
from tests.waiting import until

MODEL = "palimpsest-tiny"
BIG = 10_000_000
KEYS = {f"k{number}": number for number in range(90_000)}
SAID = {"role": "user", "content": "x"}


def asked(*texts: str, **more: Any) -> bytes:
    """A request of these turns, as bytes."""
    roles = ("user", "assistant")
    turns = [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]
    return json.dumps({"model": MODEL, "messages": turns, "max_tokens": 2, "temperature": 0} | more).encode()


def nested(depth: int, inner: str = "1") -> str:
    """Objects within objects."""
    return '{"a":' * depth + inner + "}" * depth


def tool(number: int, **schema: Any) -> dict[str, Any]:
    """One of many tools."""
    parameters = {"type": "object", "properties": {}} | schema
    return {"type": "function", "function": {"name": f"t{number}", "parameters": parameters}}


def deep(depth: int, **more: Any) -> bytes:
    """A tool whose schema is nested; with more to ask it must be kept."""
    function = {"name": "t", "strict": bool(more), "parameters": 0}
    made = json.dumps({"type": "function", "function": function}).replace(": 0", f": {nested(depth)}")
    return asked("x", tools=0, **more).replace(b'"tools": 0', f'"tools": [{made}]'.encode())


def past(**more: Any) -> bytes:
    """A request after a turn of the assistant that had more than text."""
    return asked("x", messages=[{"role": "assistant", "content": ""} | more, SAID])


def past_call(arguments: str) -> bytes:
    """A request after a call."""
    return past(tool_calls=[{"id": "c", "type": "function", "function": {"name": "t", "arguments": arguments}}])


BODIES: dict[str, tuple[bytes, set[int]]] = {
    "a message of ten megabytes": (asked("x" * BIG), {400}),
    "an unknown field of ten megabytes": (asked("x", metadata="y" * BIG), {200}),
    "ten megabytes of blanks": (b" " * BIG + asked("x"), {200}),
    "a tool of ten megabytes": (asked("x", tools=[tool(0, description="y" * BIG)]), {400}),
    "a field of a message that nobody reads": (asked("x", messages=[SAID | {"name": "y" * BIG}]), {200}),
    "many small parts": (asked("x", messages=[SAID | {"content": [{"type": "text", "text": ""}] * 30_000}]), {200}),
    "three hundred thousand messages": (asked("x", messages=[SAID] * 300_000), {400}),
    "a schema of ninety thousand keys": (asked("x", tools=[tool(0, **KEYS)]), {400}),
    "a call of ninety thousand keys": (past_call(json.dumps(KEYS)), {400}),
    "a schema of a million objects": (asked("x", tools=[tool(0, x=[{}] * 1_000_000)]), {400}),
    "a hundred tools": (asked("x", tools=[tool(number) for number in range(100)]), {200, 400}),
    "a hundred tools of which one must be called": (
        asked("x", tools=[tool(number) for number in range(100)], tool_choice="required"), {200, 400},
    ),
    "two hundred turns": (asked(*["x"] * 201), {200, 400}),
    "NULs": (asked("\x00" * 20, stop=["\x00"]), {200}),
    "odd Unicode": (asked("\ufeff\u202e\U000e0001\uffff\U0010ffff\u0300é́ﷺ" + "\ue000\ue001"), {200}),
    "odd names": (asked("x", tools=[tool(0, **{"\u202e<|im_end|>": {"\x00": ["\uffff"]}}), WEATHER]), {200}),
    "a call of three hundred thousand lists": (past_call(json.dumps({"a": [[]] * 300_000})), {400}),
    "a call of ten megabytes": (past_call(json.dumps({"a": "y" * BIG})), {400}),
    "a call of eight hundred floors": (past_call(nested(800)), {200, 400}),
    "a thought of ten megabytes": (past(reasoning_content="y" * BIG), {400}),
    "a result of ten megabytes": (asked("x", messages=[{"role": "tool", "content": "y" * BIG}, SAID]), {400}),
    "a schema of five hundred floors": (deep(500), {200, 400}),
    "a schema of five hundred floors that must be kept": (deep(500, tool_choice="required"), {200, 400}),
    "a top_k of four hundred digits": (asked("x", top_k=int("9" * 400)), {400}),
    "a schema without a floor": (deep(100_000), {400}),
    "an unknown field without a floor": (asked("x").replace(b"{", f'{{"u": {nested(100_000)}, '.encode(), 1), {200, 400}),
    "a number without end": (asked("x", seed=0).replace(b'"seed": 0', b'"seed": ' + b"9" * 1_000_000), {400}),
}  # fmt: skip


@pytest.fixture
async def inside(database: Database, tmp_path: Path) -> AsyncIterator[Housed]:
    """A house whose checkpoint knows tools."""
    async with housed(database, tmp_path, model=tooled()) as running:
        yield running


async def test_hostile_bodies_are_served_or_refused_in_words(inside: Housed) -> None:
    """Each has a status that fits it and, if refused, a message in OpenAI's shape and one record."""
    for name, (body, statuses) in BODIES.items():
        answer = await inside.client.post(CHAT, content=body)
        assert answer.status_code in statuses, (name, answer.text[:300])
        if answer.status_code == 400:
            assert len(answer.json()["error"]["message"]) > 10
            (record,) = inside.log.bodies(UUID(answer.headers["x-request-id"]))
            assert isinstance(record, PolicyDecision) and record.outcome == "refuse", name


PAST: dict[str, tuple[str, dict[str, Any]]] = {
    "arguments": (CHAT, {"messages": [{"role": "assistant", "tool_calls": [
        {"id": "c", "function": {"name": "t", "arguments": json.dumps({"a": "y" * 100_000})}}]}]}),
    "reasoning": (CHAT, {"messages": [{"role": "assistant", "content": "", "reasoning_content": "y" * 100_000}]}),
    "an input": ("/v1/messages", {"max_tokens": 2, "messages": [{"role": "assistant", "content": [
        {"type": "tool_use", "id": "c", "name": "t", "input": {"a": "y" * 100_000}}]}]}),
    "a thought": ("/v1/messages", {"max_tokens": 2, "messages": [{"role": "assistant", "content": [
        {"type": "thinking", "thinking": "y" * 100_000}]}]}),
    "a result": ("/v1/messages", {"max_tokens": 2, "messages": [{"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "c", "content": "y" * 100_000}]}]}),
    "a call": ("/v1/responses", {"input": [
        {"type": "function_call", "call_id": "c", "name": "t", "arguments": json.dumps({"a": "y" * 100_000})}]}),
}  # fmt: skip


async def test_what_cannot_fit_is_refused_unread(inside: Housed) -> None:
    """Whatever makes a prompt long, text or thought, call or result, in each dialect it is refused by its length alone."""
    for name, (path, body) in PAST.items():
        answer = await inside.client.post(path, json={"model": MODEL} | body)
        error = answer.json()["error"]["message"]
        assert answer.status_code == 400 and "cannot fit" in error, (name, error)


async def test_a_defect_is_on_record(inside: Housed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody has thought of is a 500 in the dialect's shape, and one refusal; what was open already is abandoned."""
    monkeypatch.setattr(inside.house.budgets, "allot", lambda *_: 1 // 0)
    failed = await inside.ask()
    assert failed.status_code == 500 and "internal error" in failed.json()["error"]["message"]
    (record,) = inside.records(failed)
    assert isinstance(record, PolicyDecision) and record.outcome == "refuse"
    assert record.reason.startswith("internal_error: ") and record.status == 500
    monkeypatch.undo()
    monkeypatch.setattr(inside.house, "begin", lambda _: 1 // 0)
    failed = await inside.ask()
    assert failed.status_code == 500
    await until(lambda: isinstance(inside.records(failed)[-1], RequestAbandoned))
