"""The official openai client, sync and async, streaming and not: tools, several answers, completions; all of it on record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import openai
import pytest

from audit.records import PolicyDecision, RequestClose, RequestOpen
from gateway.postgres import Server
from tests.gateway.chat_stream import ChatStream
from tests.gateway.served import Served, serve
from tests.gateway.tooled import LOOK, WEATHER, tooled_checkpoint
from tests.plain import PLAIN
from tests.postgres_fixtures import copied

NAMED: dict[str, Any] = {"type": "function", "function": {"name": "weather"}}
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "How is Rome?"}], "temperature": 0, "max_tokens": 120}


@pytest.fixture(scope="module")
def gate(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway whose checkpoint knows tools."""
    checkpoint = tooled_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tooled")
    with copied(cluster) as database, serve(database, tmp_path_factory.mktemp("tools"), checkpoint) as running:
        yield running


def asynchronous(gate: Served) -> openai.AsyncOpenAI:
    """The official asynchronous client, without retries."""
    return openai.AsyncOpenAI(
        base_url=f"{gate.url}/v1",
        api_key=gate.key,
        max_retries=0,
        timeout=60,
        http_client=openai.DefaultAsyncHttpxClient(verify=PLAIN),
    )


def asked(gate: Served, **more: Any) -> dict[str, Any]:
    """The fields of a request."""
    return ASK | {"model": gate.model} | more


def streamed(gate: Served, **more: Any) -> ChatStream:
    """The stream of one request, read by the strict grammar."""
    answer = gate.post(asked(gate, stream=True, **more))
    assert answer.status_code == 200, answer.text
    told = ChatStream(usage="stream_options" in more, choices=more.get("n", 1))
    told.feed(answer.content)
    told.end()
    return told


@pytest.mark.parametrize("choice", [NAMED, "required"])
def test_a_call_that_must_come_comes_and_fits_its_schema(gate: Served, choice: Any) -> None:
    """Under a named or required choice the answer is a call of an offered tool whose arguments are what its schema permits."""
    answer = gate.client().chat.completions.create(
        **asked(gate, tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False)
    )
    (chosen,) = answer.choices
    assert chosen.finish_reason == "tool_calls" and chosen.message.content is None
    called: Any = (chosen.message.tool_calls or [])[0]
    arguments = json.loads(called.function.arguments)
    assert called.function.name == "weather" and arguments["city"] in ("Rome", "Oslo") and arguments["days"] in (1, 2)


@pytest.mark.parametrize("choice", ["required", NAMED])
def test_a_format_does_not_bind_a_call_that_must_come(gate: Served, choice: Any) -> None:
    """Under a binding choice the answer is the call: a response_format says what a text looks like, and there is none."""
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True}}
    told = streamed(gate, tools=[WEATHER], tool_choice=choice, response_format=form, parallel_tool_calls=False)
    ((call,), text) = told.choices[0].calls, told.choices[0].text
    assert (call["name"], text) == ("weather", "") and json.loads(call["arguments"])["days"] in (1, 2)


async def test_the_asynchronous_client_streams_the_same_call(gate: Served) -> None:
    """A streamed call has the name and arguments of the one that came whole, in the client's own types."""
    fields = asked(gate, tools=[WEATHER], tool_choice=NAMED)
    async with asynchronous(gate) as client:
        whole = await client.chat.completions.create(**fields)
        chunks = [chunk async for chunk in await client.chat.completions.create(**fields, stream=True)]
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    expected = whole.choices[0].message.tool_calls[0].function
    assert "".join(call.function.arguments or "" for call in deltas) == expected.arguments
    assert [call.function.name for call in deltas if call.function.name] == [expected.name]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_the_helper_of_the_client_reads_our_stream(gate: Served) -> None:
    """The client's own accumulator of events ends with the whole call."""
    with gate.client().chat.completions.stream(**asked(gate, tools=[WEATHER], tool_choice=NAMED)) as stream:
        final = stream.get_final_completion()
    called = (final.choices[0].message.tool_calls or [])[0]
    assert called.function.name == "weather" and json.loads(called.function.arguments)["days"] in (1, 2)


def test_a_whole_tool_loop(gate: Served) -> None:
    """A call, its result fed back with the call's id, and a text for an answer; the tool stays on offer."""
    messages: list[Any] = list(ASK["messages"])
    first = gate.client().chat.completions.create(**asked(gate, tools=[WEATHER, LOOK], tool_choice=NAMED, messages=messages))
    call = (first.choices[0].message.tool_calls or [])[0]
    messages += [
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    second = gate.client().chat.completions.create(**asked(gate, tools=[WEATHER, LOOK], tool_choice="none", messages=messages))
    assert second.choices[0].finish_reason in ("stop", "length") and not second.choices[0].message.tool_calls
    assert second.usage and first.usage and second.usage.prompt_tokens > 0
    generation = UUID((second.model_extra or {})["palimpsest"]["generation_id"])
    assert isinstance(gate.log.bodies(generation)[-1], RequestClose)


def test_parallel_calls_can_be_ruled_out(gate: Served) -> None:
    """With parallel_tool_calls false a required answer is one call and no more."""
    told = streamed(gate, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False)
    assert len(told.choices[0].calls) == 1 and told.choices[0].finish == "tool_calls" and told.choices[0].text == ""


def test_strict_tools_bind_an_answer_that_may_call(gate: Served) -> None:
    """With a strict tool on offer an answer is a text, or calls that keep to the schema; either way the stream is in order."""
    told = streamed(gate, tools=[WEATHER], stream_options={"include_usage": True}, logprobs=True)
    opening = gate.log.bodies(UUID(told.accounts[0]["generation_id"]))[0]
    assert isinstance(opening, RequestOpen) and opening.constraint_kind == "grammar" and "weather" in opening.constraint_source
    assert told.usage is not None and told.choices[0].scores <= told.usage["completion_tokens"]


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"tools": [WEATHER], "tool_choice": NAMED, "palimpsest": {"regex": "a+"}}, "conflict", "tool_choice"),
        (
            {
                "tools": [
                    {"type": "function", "function": {"name": "f", "strict": True, "parameters": {
                        "type": "object", "properties": {"a": {"type": "object", "not": {}}}}}}
                ]
            },
            "invalid_constraint",
            "tools",
        ),
    ],
)  # fmt: skip
def test_a_choice_that_cannot_be_held_is_a_400(gate: Served, fields: dict[str, Any], code: str, param: str) -> None:
    """A call that must also be something else, and a strict schema that cannot be held, are refused by name and on record."""
    answer = gate.post(asked(gate, **fields))
    assert (answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["param"]) == (400, code, param)
    (record,) = gate.log.bodies(UUID(answer.headers["x-request-id"]))
    assert isinstance(record, PolicyDecision) and record.outcome == "refuse"


def test_unknown_types_of_tools_are_left_out(gate: Served) -> None:
    """A hosted tool that nobody here can run is tolerated, alone or beside a function."""
    answer = gate.post(asked(gate, tools=[{"type": "web_search"}, WEATHER], tool_choice="required"))
    assert answer.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "weather"
    assert gate.post(asked(gate, tools=[{"type": "web_search", "x": [1]}])).status_code == 200


def test_several_answers_are_generations_of_their_own(gate: Served) -> None:
    """Three answers to one prompt have three ids, records of their own and choices of one key; the prompt counts once."""
    drawn: dict[str, Any] = {"n": 3, "temperature": 2.0, "seed": 5, "max_tokens": 24}
    answer = gate.client().chat.completions.create(**asked(gate, **drawn))
    extras = [(choice.model_extra or {})["palimpsest"] for choice in answer.choices]
    opened = [gate.log.bodies(UUID(extra["generation_id"]))[0] for extra in extras]
    assert [each.choice for each in opened if isinstance(each, RequestOpen)] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) > 1
    assert isinstance(opened[0], RequestOpen) and answer.usage.prompt_tokens == opened[0].prompt_tokens
    told = streamed(gate, **drawn, stream_options={"include_usage": True})
    assert [each.text for each in told.choices] == [choice.message.content for choice in answer.choices]
    assert told.usage is not None and told.usage["completion_tokens"] == answer.usage.completion_tokens


def test_cached_tokens_are_told(gate: Served) -> None:
    """A prompt that was asked before is found in the cache, and the usage says how much of it."""
    fields = asked(gate, messages=[{"role": "user", "content": "again " * 200}], max_tokens=1)
    gate.post(fields)
    usage = gate.post(fields).json()["usage"]
    assert 0 < usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"]


async def test_completions_go_on_with_a_text(gate: Served) -> None:
    """Both clients get the older dialect's documents and streams, from a text or its ids, with the same words."""
    fields: dict[str, Any] = {"model": gate.model, "temperature": 0, "max_tokens": 8}
    whole = gate.client().completions.create(prompt="def add(a, b):", logprobs=2, **fields)
    scores = whole.choices[0].logprobs
    assert scores and "".join(scores.tokens or []) == whole.choices[0].text and (scores.text_offset or [])[0] == 0
    assert whole.id.startswith("cmpl-") and (whole.model_extra or {})["palimpsest"]["mode"] == "linear_spec"
    async with asynchronous(gate) as client:
        stream = await client.completions.create(prompt=["def add(a, b):"], stream=True, **fields)
        assert "".join([chunk.choices[0].text async for chunk in stream]) == whole.choices[0].text
    opening = gate.log.bodies(UUID((whole.model_extra or {})["palimpsest"]["generation_id"]))[0]
    assert isinstance(opening, RequestOpen) and opening.dialect == "openai.completions"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": "x", "echo": True}, "echo"),
        ({"prompt": "x", "suffix": "y"}, "suffix"),
        ({"prompt": "x", "best_of": 3}, "best_of"),
        ({"prompt": ["x", "y"]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": [11]}, "prompt"),
        ({"prompt": [1 << 40]}, "prompt"),
        ({"prompt": "word " * 3000}, "prompt"),
        ({"prompt": "x", "logprobs": 21}, "logprobs"),
        ({}, "prompt"),
    ],
)
def test_a_completion_that_is_not_served_is_named(gate: Served, fields: dict[str, Any], param: str) -> None:
    """What this dialect does not serve, ids of special tokens included, is a 400 that names the field."""
    with pytest.raises(openai.BadRequestError) as caught:
        gate.client().completions.create(**({"model": gate.model, "prompt": None} | fields))
    assert caught.value.param == param
