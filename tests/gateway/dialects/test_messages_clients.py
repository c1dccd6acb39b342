"""The official anthropic client, sync and async, over /v1/messages of a running gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest

from audit.records import PolicyDecision, RequestOpen
from engine.train.grammar import Split, task
from tests.gateway.dialects.messages_grammar import MessageReader
from tests.gateway.served import Served
from tests.plain import PLAIN

if TYPE_CHECKING:
    import anthropic

QUESTION = task(6_100_000, Split.HELD_OUT).prompt


def asked(served: Served, **more: Any) -> dict[str, Any]:
    """The arguments of one request."""
    messages = [{"role": "user", "content": QUESTION}]
    greedy = {"temperature": 0}
    return {"model": served.model, "messages": messages, "extra_body": greedy, "max_tokens": 128} | more


@pytest.fixture
def client(served: Served) -> Iterator[anthropic.Anthropic]:
    """The official client, without retries."""
    import anthropic  # noqa: PLC0415 - seconds of imports, for whoever asks for it alone

    with anthropic.Anthropic(
        base_url=served.url,
        api_key=served.key,
        max_retries=0,
        timeout=60,
        http_client=anthropic.DefaultHttpxClient(verify=PLAIN),
    ) as client:
        yield client


def raw(served: Served, path: str = "/v1/messages", **more: Any) -> httpx.Response:
    """One request as Claude Code sends it, with its headers."""
    headers = {"x-api-key": served.key, "anthropic-version": "2023-06-01", "anthropic-beta": "a-2025-01-01,b-2025-02-02"}
    body = {"model": served.model, "messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 128}
    return httpx.post(served.url + path, json=body | more, headers=headers, timeout=60, trust_env=False, verify=PLAIN)


def test_a_message_is_answered_and_counted(served: Served, client: anthropic.Anthropic) -> None:
    """Whole or streamed, the client gets one text, the reason and the counts, and the records say which dialect it was."""
    whole = client.messages.create(**asked(served))
    with client.messages.stream(**asked(served)) as stream:
        told = "".join(stream.text_stream)
        final = stream.get_final_message()
    (block,) = whole.content
    assert block.type == "text" and block.text and told == block.text
    assert final.content[0].to_dict() == whole.content[0].to_dict()
    assert final.stop_reason == whole.stop_reason == "end_turn"
    assert whole.usage.output_tokens == final.usage.output_tokens > 0
    counted = client.messages.count_tokens(model=served.model, messages=asked(served)["messages"])
    usage = whole.usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)
    opening = served.log.bodies(UUID(whole.id.removeprefix("msg_")))[0]
    assert isinstance(opening, RequestOpen) and opening.dialect == "anthropic.messages"


async def test_the_async_client_reads_the_same(served: Served, client: anthropic.Anthropic) -> None:
    """Sync and async, streamed and whole, the text is one."""
    import anthropic  # noqa: PLC0415 - seconds of imports, for whoever asks for it alone

    async with anthropic.AsyncAnthropic(
        base_url=served.url,
        auth_token=served.key,
        api_key=None,
        max_retries=0,
        http_client=anthropic.DefaultAsyncHttpxClient(verify=PLAIN),
    ) as other:
        whole = await other.messages.create(**asked(served))
        async with other.messages.stream(**asked(served)) as stream:
            final = await stream.get_final_message()
    assert whole.content == client.messages.create(**asked(served)).content
    assert [block.to_dict() for block in final.content] == [block.to_dict() for block in whole.content]


def test_what_is_asked_of_the_answer_is_kept(served: Served, client: anthropic.Anthropic) -> None:
    """max_tokens and stop_sequences end the answer with a reason of their own."""
    (block,) = client.messages.create(**asked(served)).content
    assert block.type == "text"
    short = client.messages.create(**asked(served, max_tokens=2))
    assert (short.stop_reason, short.usage.output_tokens) == ("max_tokens", 2)
    stop = block.text[len(block.text) // 2 :][:4]
    stopped = client.messages.create(**asked(served, stop_sequences=["never said", stop]))
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", stop)


def test_models_have_every_field_that_the_client_requires(served: Served) -> None:
    """The client checks nothing and leaves out what did not come, so its users would fall over a field that is missing."""
    from anthropic.types import ModelInfo  # noqa: PLC0415 - seconds of imports, for whoever asks for it alone

    headers = {"x-api-key": served.key}
    answer = httpx.get(f"{served.url}/v1/models?limit=1000", headers=headers, timeout=60, trust_env=False, verify=PLAIN)
    for line in answer.json()["data"]:
        assert ModelInfo.model_validate(line).lifecycle == "active"


def test_a_stream_keeps_the_grammar(served: Served) -> None:
    """Every event stands where a strict reader expects it, and the extension names the generation and its records."""
    answer = raw(served, stream=True, system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}])
    reader = MessageReader()
    reader.feed(answer.content)
    reader.finish()
    assert reader.delta is not None and reader.text
    extension = reader.delta["palimpsest"]
    assert extension["generation_id"] == answer.headers["x-palimpsest-generation"]
    assert extension["last_seq"] - extension["first_seq"] + 1 >= extension["records"]
    assert answer.headers["x-palimpsest-mode"] == extension["mode"]
    assert answer.headers["x-palimpsest-policy"] == extension["policy"]


def test_an_alias_that_claude_code_accepts_names_the_model(served: Served) -> None:
    """A name that begins with claude-, with or without a mode, is the served model."""
    assert raw(served, model=f"claude-{served.model}").status_code == 200
    answer = raw(served, model=f"claude-{served.model}:ar")
    assert answer.headers["x-palimpsest-mode"] == "ar"


MALFORMED: list[tuple[str, dict[str, Any], int, str]] = [
    ("no messages", {"messages": []}, 400, "invalid_request_error"),
    ("an image", {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, 400, "invalid_request_error"),
    ("max_tokens as text", {"max_tokens": "many"}, 400, "invalid_request_error"),
    ("temperature too high", {"temperature": 1.5}, 400, "invalid_request_error"),
    ("an unknown model", {"model": "claude-opus-9"}, 404, "not_found_error"),
    ("an unknown role", {"messages": [{"role": "robot", "content": "x"}]}, 400, "invalid_request_error"),
]


@pytest.mark.parametrize(("more", "status", "kind"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_a_bad_request_is_refused_in_anthropics_shape(served: Served, more: dict[str, Any], status: int, kind: str) -> None:
    """A refusal has Anthropic's type and status, is not retried, and is on record."""
    answer = raw(served, **more)
    document = answer.json()
    assert (answer.status_code, document["type"], document["error"]["type"]) == (status, "error", kind)
    assert document["request_id"] == answer.headers["request-id"]
    assert answer.headers["x-should-retry"] == "false"
    (record,) = served.log.bodies(UUID(document["request_id"]))
    assert isinstance(record, PolicyDecision) and record.outcome == "refuse"


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])
def test_a_thread_is_refused_so_that_its_client_sends_all_of_it(served: Served, thread: dict[str, str]) -> None:
    """A request to hold or to go on from a conversation gets the code at which the tool runner sends the whole one instead."""
    answer = raw(served, thread=thread, max_tokens=1)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert answer.json()["error"]["details"] == {"error_code": "thread_unsupported_request"}
    counted = raw(served, "/v1/messages/count_tokens", thread=thread)
    assert (counted.status_code, counted.json()["error"]["details"]) == (400, answer.json()["error"]["details"])
    assert raw(served, thread=None, max_tokens=1).status_code == 200
    assert "details" not in raw(served, messages=[]).json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("POST", "/v1/messages/batches", 404, "not_found_error"),
        ("GET", "/v1/messages/nothing", 404, "not_found_error"),
        ("GET", "/v1/messages", 405, "invalid_request_error"),
        ("POST", "/v1/messages?" + "x" * 20_000, 414, "invalid_request_error"),
    ],
)
def test_what_no_handler_sees_has_anthropics_shape(served: Served, method: str, path: str, status: int, kind: str) -> None:
    """An address below /v1/messages that is not served is told as its clients read errors; all others stay in OpenAI's."""
    answer = httpx.request(method, served.url + path, timeout=30, trust_env=False, verify=PLAIN)
    document = answer.json()
    assert (answer.status_code, document["type"], document["error"]["type"]) == (status, "error", kind)
    assert document["request_id"] == answer.headers["request-id"]
    other = httpx.request(method, served.url + "/v1/message", timeout=30, trust_env=False, verify=PLAIN).json()
    assert other.keys() == {"error"} and other["error"]["type"] == "invalid_request_error"


def test_a_wrong_key_is_an_authentication_error(served: Served) -> None:
    """The client raises its own error for a key that nobody has."""
    import anthropic  # noqa: PLC0415 - seconds of imports, for whoever asks for it alone

    stranger = anthropic.Anthropic(
        base_url=served.url, api_key="pal-unknown", max_retries=0, http_client=anthropic.DefaultHttpxClient(verify=PLAIN)
    )
    with stranger, pytest.raises(anthropic.AuthenticationError, match="API key"):
        stranger.messages.create(**asked(served))


def test_a_format_may_stand_where_older_clients_put_it(served: Served) -> None:
    """`output_format` holds an answer as `output_config.format` does; two that differ, or one that is not served, are 400."""
    held = {"type": "json_schema", "schema": {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"],
                                              "additionalProperties": False}}  # fmt: skip
    for more in ({"output_format": held}, {"output_format": held, "output_config": {"format": held}}):
        answer = raw(served, max_tokens=60, **more)
        assert json.loads(answer.json()["content"][0]["text"]) == {"a": 1}
    for wrong in ({"type": "xml"}, {"type": "json_schema", "schema": {}}):
        answer = raw(served, output_format=wrong, output_config={"format": held})
        assert answer.status_code == 400 and "differ" in answer.json()["error"]["message"]
    assert "output_format 'xml'" in raw(served, output_format={"type": "xml"}).json()["error"]["message"]
