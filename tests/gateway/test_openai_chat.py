"""OpenAI's dialect, inward: tolerant of what is unknown, exact about what is known."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.request import Constraint, ConstraintKind
from gateway.dialects.knob import NOTHING_BESIDE, Beside
from gateway.dialects.openai_chat import decode
from gateway.dialects.request import AskedSampling, AssistantTurn, ComputeKnob, Conversation, Delivery, SystemTurn, UserTurn
from gateway.errors import BadRequest

HELLO: dict[str, Any] = {"model": "palimpsest-tiny", "messages": [{"role": "user", "content": "hello"}]}


def body(**fields: Any) -> bytes:
    """A valid request with some fields replaced."""
    return json.dumps(HELLO | fields).encode()


def refusal(raw: bytes, beside: Beside = NOTHING_BESIDE) -> BadRequest:
    """The refusal that a body earns."""
    with pytest.raises(BadRequest) as caught:
        decode(raw, beside)
    return caught.value


def test_the_least_request_gets_openai_defaults() -> None:
    """Model and messages alone are a whole request: temperature 1, no seed, no limit, one document."""
    chat = decode(body())
    assert chat.model == "palimpsest-tiny"
    assert chat.prompt == Conversation((UserTurn("hello"),))
    assert chat.sampling == AskedSampling()
    assert (chat.seed, chat.max_tokens, chat.delivery) == (None, None, Delivery.WHOLE)
    assert (chat.stop, chat.top_logprobs, chat.constraint) == ((), None, None)
    assert chat.knob == ComputeKnob()


def test_unknown_fields_are_ignored_and_null_means_absent() -> None:
    """Fields that the dialect does not know pass, and null is as good as nothing."""
    chat = decode(body(store=False, metadata={"a": "b"}, temperature=None, stream=None, tools=None, palimpsest=None))
    assert chat.sampling.temperature == 1.0


def test_messages_are_kept_exactly_as_received() -> None:
    """The text on record is the messages array byte for byte, spacing and escapes included."""
    raw = b'{"model":"m", "messages": [ {"role":"user","content":"\\u00e9 <SPECIAL_100>", "name":"x"} ]}'
    chat = decode(raw)
    assert chat.prompt_json == '[ {"role":"user","content":"\\u00e9 <SPECIAL_100>", "name":"x"} ]'
    assert chat.prompt == Conversation((UserTurn("é <SPECIAL_100>"),))


BROKEN = (b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", "é".encode())
MARKS = bytes(range(32)) + b'"\\'


@given(st.one_of(st.binary(max_size=4).map(lambda data: data.translate(None, MARKS)), st.sampled_from(BROKEN)))
def test_only_utf8_is_read(data: bytes) -> None:
    """Wherever bytes stand, in fields that are read, kept or skipped, a body is taken as UTF-8 or refused, never mended."""
    places = (
        b'{"model":"m","messages":[{"role":"user","content":"%s"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"x","name":"%s"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"unknown":["%s"]}',
        b'{"response_format":{"type":"json_schema","json_schema":{"schema":"%s"}},"messages":[{"role":"user","content":"x"}],"model":"m"}',
    )
    for place in places:
        try:
            text = (place % data).decode()
        except UnicodeDecodeError:
            assert refusal(place % data).code == "invalid_json"
        else:
            chat = decode(place % data)
            assert chat.prompt_json in text
            assert chat.constraint is None or chat.constraint.source in text


@pytest.mark.parametrize("name", ["workflow", "risk"])
def test_a_label_on_record_has_an_end(name: str) -> None:
    """What is recorded as it came, and read by policies, may have 500 characters and no more."""
    assert getattr(decode(body(palimpsest={name: "é" * 500})).knob, name) == "é" * 500
    found = refusal(body(palimpsest={name: "é" * 501}))
    assert (found.code, found.param) == ("out_of_range", f"palimpsest.{name}")


def test_a_refusal_that_comes_back_is_what_was_said() -> None:
    """Clients send an answer back as it came: one that was a refusal has no content, in place of which it stands."""
    refused = {"role": "assistant", "content": None, "refusal": "I won't."}
    whole = decode(body(messages=[refused, {"role": "assistant", "content": "yes", "refusal": None}]))
    assert isinstance(whole.prompt, Conversation)
    assert whole.prompt.turns == (AssistantTurn("I won't."), AssistantTurn("yes"))


def test_content_parts_are_joined_and_developer_is_system() -> None:
    """Text parts are one text, and a developer turn is a system turn."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    chat = decode(body(messages=[{"role": "developer", "content": "be brief"}, {"role": "user", "content": parts}]))
    assert chat.prompt == Conversation((SystemTurn("be brief"), UserTurn("ab")))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 3}, "model"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [3]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": "ten"}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"seed": True}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"palimpsest": []}, "palimpsest"),
        ({"palimpsest": {"block_length": "8"}}, "palimpsest.block_length"),
        ({"palimpsest": {"treshold": 0.5}}, "palimpsest.treshold"),
        ({"temperature": 2.5}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"min_p": 2}, "min_p"),
        ({"presence_penalty": -2.1}, "presence_penalty"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"repetition_penalty": 1e-39}, "repetition_penalty"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": ""}, "stop"),
        ({"stop": ["y" * 257]}, "stop"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_object"}, "palimpsest": {"regex": "a"}}, "response_format"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": 1 << 64}, "seed"),
        ({"palimpsest": {"max_steps": 0}}, "palimpsest.max_steps"),
        ({"palimpsest": {"threshold": 1.5}}, "palimpsest.threshold"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"messages": []}, "messages"),
        ({"n": 0}, "n"),
        ({"n": 9}, "n"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": "a<b"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, "tools[0].function.parameters"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}] * 2}, "tools[1].function.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}, "messages[0].tool_calls[0].function"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "["}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}]}, "messages[0].function_call"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    """A field of the wrong type, out of range or contradicting another is a 400 that names it."""
    error = refusal(body(**fields))
    assert (error.status, error.param) == (400, param)
    assert error.message


@pytest.mark.parametrize(
    ("field", "asked", "neutral"),
    [
        ("logit_bias", {"5": 1}, {}),
        ("functions", [{"name": "f"}], []),
        ("function_call", {"name": "f"}, "auto"),
        ("modalities", ["audio"], ["text"]),
    ],
)
def test_what_is_not_served_is_refused_unless_neutral(field: str, asked: Any, neutral: Any) -> None:
    """A parameter that would change the answer is refused by name; its neutral value passes."""
    error = refusal(body(**{field: asked}))
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", field)
    decode(body(**{field: neutral}))


def test_sampling_is_read_field_by_field() -> None:
    """Every sampling field reaches the request, and other servers' -1 for top_k means off."""
    given = AskedSampling(0.5, 0.9, 40, 0.05, 0.5, -1.0, 1.5)
    fields = {name: getattr(given, name) for name in AskedSampling.__slots__}
    assert decode(body(**fields)).sampling == given
    assert decode(body(top_k=-1)).sampling.top_k == 0


def test_stops_and_log_probabilities_are_read() -> None:
    """A stop string may come alone or in a list; log-probabilities may come without alternatives."""
    assert decode(body(stop="x")).stop == ("x",)
    assert decode(body(stop=["x", "y"])).stop == ("x", "y")
    assert decode(body(logprobs=True)).top_logprobs == 0
    assert decode(body(logprobs=True, top_logprobs=5)).top_logprobs == 5


def test_a_constraint_keeps_its_source() -> None:
    """Schema, regex and grammar reach the request as they were sent."""
    schema = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}}}
    assert decode(body(response_format=schema)).constraint == Constraint(ConstraintKind.JSON_SCHEMA, '{"type": "object"}')
    assert decode(body(response_format={"type": "json_object"})).constraint == Constraint(ConstraintKind.JSON_OBJECT)
    assert decode(body(response_format={"type": "text"})).constraint is None
    assert decode(body(palimpsest={"regex": "a+"})).constraint == Constraint(ConstraintKind.REGEX, "a+")
    assert decode(body(palimpsest={"grammar": "start: /a/"})).constraint == Constraint(ConstraintKind.GRAMMAR, "start: /a/")


def test_mode_may_come_three_ways_but_only_once() -> None:
    """Suffix, header and body choose the mode alike; two different choices are a conflict."""
    assert decode(body(model="palimpsest-tiny:ar")).knob.mode == "ar"
    assert decode(body(model="palimpsest-tiny:ar")).model == "palimpsest-tiny"
    assert decode(body(), Beside("diffusion")).knob.mode == "diffusion"
    assert decode(body(palimpsest={"mode": "ar"}), Beside("ar")).knob.mode == "ar"
    assert refusal(body(model="palimpsest-tiny:ar", palimpsest={"mode": "diffusion"})).code == "conflict"
    assert refusal(body(palimpsest={"mode": "ar"}), Beside("diffusion")).code == "conflict"


def test_a_header_may_hold_the_knob() -> None:
    """What `x-palimpsest` says counts like the body's object, and both together; it is as closed, and may not contradict it."""
    header = Beside(whole='{"workflow": "ide", "grammar": "start: /a/", "max_steps": 4}')
    found = decode(body(palimpsest={"max_steps": 4, "risk": "low"}), header)
    assert (found.knob.workflow, found.knob.risk, found.knob.max_steps) == ("ide", "low", 4)
    assert found.constraint == Constraint(ConstraintKind.GRAMMAR, "start: /a/")
    conflict = refusal(body(palimpsest={"max_steps": 5}), header)
    assert (conflict.code, conflict.param) == ("conflict", "palimpsest.max_steps")
    for wrong in ("{", '"x"', '{"modes": "ar"}', '{"max_steps": "4"}'):
        assert refusal(body(), Beside(whole=wrong)).param == "x-palimpsest"
    assert refusal(body(), Beside("ar", '{"mode": "diffusion"}')).code == "conflict"


@pytest.mark.parametrize("name", ["workflow", "risk"])
def test_a_label_holds_no_nul(name: str) -> None:
    """What goes on record to be looked for later is a text that can be looked for."""
    wrong = refusal(body(palimpsest={name: "a\0b"}))
    assert (wrong.code, wrong.param) == ("out_of_range", f"palimpsest.{name}")


def test_negative_seeds_are_twos_complement() -> None:
    """OpenAI permits negative seeds; they become the unsigned number of the same bits."""
    assert decode(body(seed=-1)).seed == (1 << 64) - 1
    assert decode(body(seed=7)).seed == 7


def test_usage_in_streams_is_asked_for() -> None:
    """The delivery says whether the stream ends with usage."""
    assert decode(body(stream=True)).delivery is Delivery.STREAM
    usage = decode(body(stream=True, stream_options={"include_usage": True}))
    assert usage.delivery is Delivery.STREAM_WITH_USAGE


def refusal_of(raw: bytes) -> BadRequest | None:
    """What is wrong with a body; None if it is a request. Any other exception passes through."""
    try:
        decode(raw)
    except BadRequest as refusal:
        return refusal
    return None


@given(st.binary(max_size=80))
def test_any_bytes_are_a_request_or_a_400(raw: bytes) -> None:
    """No body can do worse than earn a BadRequest."""
    refusal = refusal_of(raw)
    assert refusal is None or json.loads(refusal.body())["error"]["type"] == "invalid_request_error"


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=4))
def test_any_value_in_any_field_is_a_request_or_a_400(value: Any) -> None:
    """No JSON value in any known field can do worse than earn a BadRequest."""
    for field in ("model", "messages", "temperature", "top_k", "stop", "palimpsest", "response_format", "tools", "tool_choice"):
        refusal = refusal_of(body(**{field: value}))
        assert refusal is None or refusal.status == 400
