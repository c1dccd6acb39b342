"""Tools in both new dialects, with the official clients: a call that must come, its result fed back, an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.postgres import Server
from tests.gateway.dialects.messages_grammar import MessageReader
from tests.gateway.dialects.responses_grammar import ResponseReader
from tests.gateway.dialects.wired import MESSAGES, RESPONSES, headers
from tests.gateway.served import Served, serve
from tests.gateway.tooled import WEATHER, tooled_checkpoint
from tests.plain import PLAIN
from tests.postgres_fixtures import copied

FUNCTION = WEATHER["function"]
OURS: dict[str, Any] = {"type": "function", **FUNCTION}
THEIRS: dict[str, Any] = {"name": FUNCTION["name"], "strict": True, "input_schema": FUNCTION["parameters"]}
QUESTION = "How is Rome?"


@pytest.fixture(scope="module")
def tools(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway whose checkpoint knows tools."""
    checkpoint = tooled_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tooled")
    with copied(cluster) as database, serve(database, tmp_path_factory.mktemp("tools"), checkpoint) as running:
        yield running


def fits(arguments: Any) -> bool:
    """Whether the arguments of a call are what the schema permits."""
    return arguments["city"] in ("Rome", "Oslo") and arguments["days"] in (1, 2)


@pytest.mark.parametrize("choice", [{"type": "any", "disable_parallel_tool_use": True}, {"type": "tool", "name": "weather"}])
def test_a_message_calls_a_tool_and_goes_on(tools: Served, choice: Any) -> None:
    """Whole and streamed the call is one, of the schema, with stop_reason tool_use; its result is taken back."""
    import anthropic  # noqa: PLC0415 - seconds of imports, for whoever asks for it alone

    asked: dict[str, Any] = {"model": tools.model, "max_tokens": 120, "tools": [THEIRS], "extra_body": {"temperature": 0}}
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    with anthropic.Anthropic(
        base_url=tools.url, api_key=tools.key, max_retries=0, timeout=60, http_client=anthropic.DefaultHttpxClient(verify=PLAIN)
    ) as client:
        whole = client.messages.create(messages=messages, tool_choice=choice, **asked)
        with client.messages.stream(messages=messages, tool_choice=choice, **asked) as stream:
            final = stream.get_final_message()
        call = whole.content[0]
        assert call.type == "tool_use" and call.name == "weather" and fits(call.input)
        assert whole.stop_reason == final.stop_reason == "tool_use"
        told = final.content[0]
        assert told.type == "tool_use" and (told.name, told.input) == (call.name, call.input)
        assert call.id.startswith("toolu_") and call.id != told.id
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "sunny"}
            for block in whole.content
            if block.type == "tool_use"
        ]
        messages += [{"role": "assistant", "content": whole.content}, {"role": "user", "content": results}]
        answer = client.messages.create(messages=messages, tool_choice={"type": "none"}, **asked)
    assert answer.stop_reason in ("end_turn", "max_tokens") and all(block.type == "text" for block in answer.content)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "weather"}])
def test_a_response_calls_a_tool_and_goes_on(tools: Served, choice: Any) -> None:
    """Whole, streamed and asked for again the call is one, of the schema; its result is taken back by the response's id."""
    asked: dict[str, Any] = {"model": tools.model, "temperature": 0, "max_output_tokens": 120, "tools": [OURS]}
    asked["parallel_tool_calls"] = False
    with tools.client() as client:
        whole = client.responses.create(input=QUESTION, tool_choice=choice, **asked)
        with client.responses.stream(input=QUESTION, tool_choice=choice, **asked) as stream:
            final: Any = stream.get_final_response()
        call = whole.output[0]
        assert call.type == "function_call" and call.name == "weather" and fits(json.loads(call.arguments))
        assert final.output[0].arguments == call.arguments
        assert client.responses.retrieve(whole.id).to_dict() == whole.to_dict()
        results: list[Any] = [
            {"type": "function_call_output", "call_id": item.call_id, "output": "sunny"}
            for item in whole.output
            if item.type == "function_call"
        ]
        going_on = client.responses.create(input=results, previous_response_id=whole.id, tool_choice="none", **asked)
        items: list[Any] = [{"role": "user", "content": QUESTION}, *(item.to_dict() for item in whole.output), *results]
        spelt = client.responses.create(input=items, tool_choice="none", **asked)
    assert going_on.usage is not None and spelt.usage is not None
    assert going_on.usage.input_tokens == spelt.usage.input_tokens
    assert all(item.type == "message" for item in going_on.output)


def test_streams_of_calls_keep_the_grammar(tools: Served) -> None:
    """Both strict readers take a stream that calls, and a call of several is one where parallel calls are ruled out."""
    body = MESSAGES.body(tools, QUESTION, 120, tools=[THEIRS], stream=True)
    message = MessageReader()
    message.feed(MESSAGES.post(tools, body | {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}}).content)
    message.finish()
    assert [block["type"] for block in message.blocks] == ["tool_use"] and fits(message.blocks[0]["input"])
    body = RESPONSES.body(tools, QUESTION, 120, tools=[OURS], tool_choice="required", parallel_tool_calls=False, stream=True)
    response = ResponseReader()
    response.feed(RESPONSES.post(tools, body).content)
    response.finish()
    assert [item["type"] for item in response.items] == ["function_call"] and fits(json.loads(response.items[0]["arguments"]))


def test_tools_count_as_tokens(tools: Served) -> None:
    """count_tokens counts what the model would be given, tools included."""
    counted = [tokens(tools, more) for more in ({}, {"tools": [THEIRS]}, {"tools": [THEIRS], "tool_choice": {"type": "none"}})]
    assert counted[1] > counted[0] == counted[2]


def test_a_schema_may_be_true_or_false(tools: Served) -> None:
    """An argument of which the schema says nothing but `true` is offered like one without words, `false` like its negation."""

    def offered(any_value: Any, none: Any) -> int:
        schema = {"type": "object", "properties": {"any": any_value, "none": none}}
        return tokens(tools, {"tools": [{"name": "keep", "input_schema": schema}]})

    assert offered(True, False) == offered({}, {"not": {}})


def test_a_tool_without_arguments_may_have_null_for_them(tools: Served) -> None:
    """Null, as servers of tools written in Go say that there is nothing, is offered and called like nothing."""

    def offered(**more: Any) -> int:
        return tokens(tools, {"tools": [{"name": "keep", "input_schema": {"type": "object"} | more}]})

    assert offered(properties=None) == offered(properties={})
    assert offered(properties={"any": None}) == offered(properties={"any": {}})
    keep = {"name": "keep", "strict": True, "input_schema": {"type": "object", "properties": None, "required": None}}
    answer = MESSAGES.post(tools, MESSAGES.body(tools, QUESTION, 60, tools=[keep], tool_choice={"type": "any"}))
    assert answer.status_code == 200 and answer.json()["content"][0]["input"] == {}, answer.text


def test_an_argument_without_a_schema_is_named(tools: Served) -> None:
    """What is no schema is a 400 that says of which argument of which tool, whatever the template makes of it."""
    for wrong in (5, "string", ["string"]):
        keep = {"name": "keep", "input_schema": {"type": "object", "properties": {"any": wrong}}}
        answer = MESSAGES.post(tools, MESSAGES.body(tools, QUESTION, 4, tools=[keep]))
        said = answer.json()["error"]["message"]
        assert answer.status_code == 400 and "'keep'" in said and "'any'" in said, said


def tokens(tools: Served, more: dict[str, Any]) -> int:
    """The answer of count_tokens."""
    body = {"model": tools.model, "messages": [{"role": "user", "content": QUESTION}]} | more
    url = f"{tools.url}/v1/messages/count_tokens"
    return int(
        httpx.post(url, json=body, headers=headers(tools), timeout=60, trust_env=False, verify=PLAIN).json()["input_tokens"]
    )
