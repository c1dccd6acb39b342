"""The official openai client, sync and async, over /v1/responses of a running gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

import httpx
import openai
import pytest
from openai.types.responses import Response

from audit.records import PolicyDecision, RequestOpen
from engine.train.grammar import Split, task
from tests.gateway.dialects.responses_grammar import ResponseReader
from tests.gateway.served import Served
from tests.plain import PLAIN

QUESTION = task(6_100_000, Split.HELD_OUT).prompt
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    """The official client, without retries."""
    with served.client() as client:
        yield client


LEFT_OUT: Final = object()
"""In place of a value: the request does not have the field."""


def asked(served: Served, **more: Any) -> dict[str, Any]:
    """The arguments of one request."""
    return {"model": served.model, "input": QUESTION, "temperature": 0, "max_output_tokens": 128} | more


def raw(served: Served, **more: Any) -> httpx.Response:
    """One request as it goes over the wire."""
    headers = {"authorization": f"Bearer {served.key}"}
    body = {name: value for name, value in (asked(served) | more).items() if value is not LEFT_OUT}
    return httpx.post(f"{served.url}/v1/responses", json=body, headers=headers, timeout=60, trust_env=False, verify=PLAIN)


def fetched(served: Served, path: str, **query: Any) -> httpx.Response:
    """A GET below /v1/responses."""
    headers = {"authorization": f"Bearer {served.key}"}
    return httpx.get(
        f"{served.url}/v1/responses/{path}", params=query, headers=headers, timeout=60, trust_env=False, verify=PLAIN
    )


def read(data: bytes, after: int = -1) -> ResponseReader:
    """A whole stream, read strictly."""
    reader = ResponseReader(after)
    reader.feed(data)
    reader.finish()
    return reader


def test_a_response_is_answered_and_kept(served: Served, client: openai.OpenAI) -> None:
    """Whole, streamed, and asked for again, a response is one and the same."""
    whole = client.responses.create(**asked(served))
    assert whole.status == "completed" and whole.output_text
    assert whole.usage is not None and whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens
    again = client.responses.retrieve(whole.id)
    assert again.to_dict() == whole.to_dict()
    with client.responses.stream(**asked(served)) as stream:
        final = stream.get_final_response()
    assert final.output_text == whole.output_text
    opening = served.log.bodies(UUID(hex=whole.id.removeprefix("resp_")))[0]
    assert isinstance(opening, RequestOpen) and opening.dialect == "openai.responses"


def test_a_response_has_every_field_that_the_client_requires(served: Served) -> None:
    """The client checks nothing and leaves out what did not come, so its users would fall over a field that is missing."""
    for more in ({}, {"max_output_tokens": 2}, {"include": ["message.output_text.logprobs"]}):
        Response.model_validate(raw(served, **more).json())


async def test_the_async_client_reads_the_same(served: Served) -> None:
    """Sync and async, streamed and whole, the text is one."""
    async with openai.AsyncOpenAI(
        base_url=f"{served.url}/v1", api_key=served.key, max_retries=0, http_client=openai.DefaultAsyncHttpxClient(verify=PLAIN)
    ) as client:
        whole = await client.responses.create(**asked(served))
        stream = await client.responses.create(stream=True, **asked(served))
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text != ""


def test_a_stream_keeps_the_grammar_and_can_be_taken_up_anywhere(served: Served) -> None:
    """The events after any number, told again from the records, are the very bytes of the first telling."""
    answer = raw(served, stream=True)
    reader = read(answer.content)
    assert reader.response is not None and reader.text
    assert reader.response["palimpsest"]["generation_id"] == answer.headers["x-palimpsest-generation"]
    events = [event + b"\n\n" for event in answer.content.split(b"\n\n")[:-1]]
    for after in (-1, 0, 4, len(events) // 2, len(events) - 2):
        again = fetched(served, reader.response["id"], stream="true", starting_after=after)
        assert again.content == b"".join(events[after + 1 :])
        assert read(again.content, after).response == reader.response


def test_a_conversation_goes_on_from_a_stored_response(served: Served, client: openai.OpenAI) -> None:
    """With previous_response_id the model is given what it would be given if the client sent everything again."""
    first = client.responses.create(**asked(served, instructions="Be brief."))
    second = client.responses.create(**asked(served, input="And now?", previous_response_id=first.id))
    items: list[Any] = [
        {"role": "user", "content": QUESTION},
        *(item.to_dict() for item in first.output),
        {"role": "user", "content": "And now?"},
    ]
    spelt = client.responses.create(**asked(served, input=items))
    assert second.usage is not None and spelt.usage is not None
    assert second.usage.input_tokens == spelt.usage.input_tokens
    assert second.output_text == spelt.output_text
    third = client.responses.create(**asked(served, input="More.", previous_response_id=second.id))
    assert third.usage is not None and third.usage.input_tokens > second.usage.input_tokens


def test_a_response_in_the_background_is_polled(served: Served, client: openai.OpenAI) -> None:
    """It is queued at once, ends without a reader, and is then what a waiting client would have got."""
    response = client.responses.create(background=True, **asked(served))
    assert response.status == "queued" and response.background
    while response.status in ("queued", "in_progress"):
        response = client.responses.retrieve(response.id)
    assert response.status == "completed"
    assert response.output_text == client.responses.create(**asked(served)).output_text


def test_an_answer_is_json_of_the_schema(served: Served, client: openai.OpenAI) -> None:
    """text.format binds the answer."""
    shape = {"format": {"type": "json_schema", "name": "person", "schema": SCHEMA, "strict": True}}
    answer = client.responses.create(**asked(served, text=shape))
    assert json.loads(answer.output_text).keys() == {"name"}


def test_an_answer_that_is_cut_is_incomplete(served: Served, client: openai.OpenAI) -> None:
    """max_output_tokens ends the response as incomplete, whole and streamed."""
    whole = client.responses.create(**asked(served, max_output_tokens=2))
    assert whole.status == "incomplete" and whole.incomplete_details is not None
    assert whole.incomplete_details.reason == "max_output_tokens"
    reader = read(raw(served, stream=True, max_output_tokens=2).content)
    assert reader.events[-1]["type"] == "response.incomplete"


def test_what_is_not_stored_cannot_be_asked_for(served: Served, client: openai.OpenAI) -> None:
    """store: false, an unknown id and a chat completion's generation are all one 404; another's key sees nothing either."""
    hidden = client.responses.create(store=False, **asked(served, max_output_tokens=2))
    chat = served.post({"model": served.model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2})
    other = "resp_" + UUID(chat.headers["x-palimpsest-generation"]).hex
    for response in (hidden.id, other, "resp_" + "0" * 32, "resp_nothing", "nothing"):
        assert fetched(served, response).status_code == 404
        refused = raw(served, previous_response_id=response)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "previous_response_not_found")


MALFORMED: list[tuple[str, dict[str, Any], str, str | None]] = [
    ("no input", {"input": []}, "empty_messages", "input"),
    ("an input that is left out", {"input": LEFT_OUT, "imput": "hi"}, "empty_messages", "input"),
    ("an image", {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
     "unsupported_content", "input[0].content[0].type"),
    ("an item of another kind", {"input": [{"type": "computer_call", "id": "1"}]}, "unsupported_message", "input[0].type"),
    ("temperature as text", {"temperature": "hot"}, "invalid_type", "temperature"),
    ("a conversation", {"conversation": "conv_1"}, "unsupported_parameter", "conversation"),
    ("background without store", {"background": True, "store": False}, "conflict", "background"),
    ("an unknown model", {"model": "gpt-9"}, "model_not_found", "model"),
    ("a misspelt knob", {"palimpsest": {"mood": "ar"}}, "invalid_type", "palimpsest.mood"),
    ("a schema that is none", {"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": 5}}}},
     "invalid_constraint", "text.format"),
    ("an input over the context", {"input": "word " * 3000}, "context_length_exceeded", "input"),
    ("an input that is never read", {"input": "word " * 30_000}, "context_length_exceeded", "input"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "code", "param"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_a_bad_request_is_refused_once(served: Served, more: dict[str, Any], code: str, param: str | None) -> None:
    """What sending again cannot mend is 400, names its place, is not retried, and is on record."""
    answer = raw(served, **more)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert answer.headers["x-should-retry"] == "false"
    (record,) = served.log.bodies(UUID(answer.headers["x-request-id"]))
    assert isinstance(record, PolicyDecision) and record.outcome == "refuse"


@pytest.mark.parametrize(("name", "value"), [("starting_after", "x" * 5000), ("starting_after", "1.5"), ("stream", "perhaps")])
def test_a_bad_parameter_is_named(served: Served, name: str, value: str) -> None:
    """A query that cannot be read says which of its parameters is wrong, and does not tell all of it again."""
    answer = fetched(served, "resp_1", **{"stream": "true", name: value})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, name)
    assert name in error["message"] and value not in error["message"]


def test_tools_and_fields_that_nobody_knows_are_passed_over(served: Served) -> None:
    """What Codex sends beside functions is tolerated: hosted tools, namespaces, include, cache keys."""
    tools: list[dict[str, Any]] = [{"type": "web_search"}, {"type": "namespace", "name": "agents", "tools": []}]
    more = {"include": ["reasoning.encrypted_content"], "prompt_cache_key": "k", "client_metadata": {"a": 1}, "store": False}
    reader = read(raw(served, tools=tools, stream=True, **more).content)
    assert reader.response is not None and reader.response["status"] == "completed"
