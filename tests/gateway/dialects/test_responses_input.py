"""Input items of the responses dialect: what the model said in one go is one turn, however many items it came in."""

from __future__ import annotations

import json
from time import thread_time
from typing import Any

import pytest

from gateway.dialects.request import AssistantTurn, ToolCall, ToolTurn, Turn, UserTurn
from gateway.dialects.responses.decode import chat_of, read
from gateway.dialects.responses.wire import Item
from gateway.errors import BadRequest

MOST = 16_000


def turns(*items: dict[str, Any]) -> tuple[Turn, ...]:
    """The conversation that these items are."""
    prompt: Any = chat_of(read(json.dumps({"model": "m", "input": list(items)}).encode()), []).prompt
    return tuple(prompt.turns)


def thought(text: str) -> dict[str, Any]:
    """An item of reasoning."""
    return {"type": "reasoning", "content": text}


def said(text: str, role: str = "assistant") -> dict[str, Any]:
    """A message."""
    return {"type": "message", "role": role, "content": text}


def called(name: str) -> dict[str, Any]:
    """A call of that tool."""
    return {"type": "function_call", "call_id": name, "name": name, "arguments": "{}"}


def test_items_of_one_answer_are_one_turn() -> None:
    """Thoughts, one text and calls belong together; another text, a result or the user begins the next turn."""
    a, b = ToolCall("a", "a", "{}"), ToolCall("b", "b", "{}")
    result = {"type": "function_call_output", "call_id": "a", "output": "1"}
    assert turns(said("hi", "user"), thought("x"), thought("y"), said("1"), called("a"), called("b"), result) == (
        UserTurn("hi"),
        AssistantTurn("1", "xy", (a, b)),
        ToolTurn("a", "1"),
    )
    assert turns(said("1"), said(""), thought("x"), said("2"), called("a"), said("3"), thought("z")) == (
        AssistantTurn("1", "x"),
        AssistantTurn("2", "", (a,)),
        AssistantTurn("3", "z"),
    )


def test_a_bad_item_is_named_by_its_place_in_the_body() -> None:
    """What an earlier response said comes before the input, and does not count in what its client is told."""
    body = read(json.dumps({"model": "m", "input": [said("go on", "user"), {"type": "computer_call"}]}).encode())
    with pytest.raises(BadRequest) as caught:
        chat_of(body, [Item(role="user", content="hi"), Item(role="assistant", content="hello")])
    assert caught.value.param == "input[1].type"


def test_items_are_gathered_in_a_time_that_follows_their_number() -> None:
    """Sixteen thousand thoughts or calls in a row are one turn at once, not a longer copy for each of them."""
    for item in (thought("x" * 400), called("a")):
        body = read(json.dumps({"model": "m", "input": [item] * MOST}).encode())
        started = thread_time()
        chat_of(body, [])
        assert thread_time() - started < 1.0
