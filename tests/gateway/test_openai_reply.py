"""OpenAI's older dialects, outward: documents and chunks that the official client reads, with our own object beside."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from gateway.calls import CallArguments, CallBegun, CallEnded, Part, Reasoning
from gateway.dialects.openai_choice import Choice, PlainChoice
from gateway.dialects.openai_reply import DONE, CompletionEnvelope, Envelope
from gateway.errors import Deferred, LogDown, Withheld
from gateway.pieces import Account, Text
from gateway.scores import TokenScore

GENERATION = UUID("01936f5e-0000-7000-8000-000000000001")
ABOUT = {"generation_id": str(GENERATION), "mode": "linear_spec", "policy": "ab" * 32}
ACCOUNT = Account(
    generation=GENERATION,
    mode="linear_spec",
    policy_digest="ab" * 32,
    block_length=16,
    seed=2**64 - 1,
    prompt_tokens=10,
    completion_tokens=30,
    forwards=8,
    records=9,
    first_seq=4,
    last_seq=12,
    reason="stop",
    cached_tokens=8,
)
CALLED = (CallBegun("call_0", "look"), CallArguments('{"a": 1}'), CallEnded())


def envelope(*, usage: bool = False) -> Envelope:
    """The envelope of one response."""
    return Envelope(GENERATION, "palimpsest-tiny", 1_700_000_000, usage)


def choice(*parts: Part, ended: Account | Withheld = ACCOUNT, scores: Sequence[TokenScore] = ()) -> Choice:
    """A choice that says these parts and ends so."""
    made = Choice(0, 10, ABOUT, bool(scores))
    for part in parts:
        made.take(part)
    made.hold(scores)
    made.end(ended)
    return made


def chunks(data: bytes) -> list[dict[str, Any]]:
    """The JSON of each event but [DONE]."""
    events = data.decode().split("\n\n")
    return [json.loads(event.removeprefix("data: ")) for event in events if event and event != "data: [DONE]"]


def test_a_document_has_text_usage_and_account() -> None:
    """A whole answer carries the text, the usage and the palimpsest object with its figures as numbers."""
    document = json.loads(envelope().document([choice(Text("h"), Text("i"))]))
    assert document["choices"][0]["message"] == {"role": "assistant", "content": "hi", "refusal": None}
    assert document["choices"][0]["finish_reason"] == "stop" and "palimpsest" not in document["choices"][0]
    assert document["usage"] == {
        "prompt_tokens": 10, "completion_tokens": 30, "total_tokens": 40, "prompt_tokens_details": {"cached_tokens": 8},
    }  # fmt: skip
    assert document["palimpsest"]["tokens_per_forward"] == 3.75
    assert (document["palimpsest"]["seed"], document["palimpsest"]["records"]) == (2**64 - 1, 9)


def test_several_answers_share_the_prompt() -> None:
    """The prompt of several answers counts once in the usage, and each has its own account."""
    other = choice(Text("ho"))
    other.index = 1
    document = json.loads(envelope().document([choice(Text("hi")), other]))
    assert [each["index"] for each in document["choices"]] == [0, 1]
    assert (document["usage"]["prompt_tokens"], document["usage"]["completion_tokens"]) == (10, 60)
    assert all(each["palimpsest"]["mode"] == "linear_spec" for each in document["choices"])


def test_a_stream_is_lf_data_lines_ending_in_done() -> None:
    """Chunks are one data line and a blank line each, and the last is [DONE]."""
    shape, made = envelope(), choice()
    data = shape.opening(made) + shape.delta(made, Text("a\nb")) + shape.closing(made) + shape.trailer([made])
    assert b"\r" not in data and data.endswith(DONE)
    opening, delta, last = chunks(data)
    assert opening["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert delta["choices"][0]["delta"] == {"content": "a\nb"}
    assert (last["choices"][0]["finish_reason"], last["palimpsest"]["mode"]) == ("stop", "linear_spec")
    assert "usage" not in opening


def test_calls_and_thoughts_have_their_own_fields() -> None:
    """A call is told by its index, id, name and arguments, a thought as reasoning; the answer then ends in tool_calls."""
    shape, made = envelope(), choice()
    parts = (Reasoning("why"), *CALLED, *CALLED)
    thought, begun, told, again, _ = chunks(b"".join(shape.delta(made, part) for part in parts))
    assert thought["choices"][0]["delta"] == {"reasoning_content": "why"}
    function = {"name": "look", "arguments": ""}
    assert begun["choices"][0]["delta"]["tool_calls"] == [
        {"index": 0, "id": "call_0", "type": "function", "function": function}
    ]
    assert told["choices"][0]["delta"]["tool_calls"] == [{"index": 0, "function": {"arguments": '{"a": 1}'}}]
    assert again["choices"][0]["delta"]["tool_calls"][0]["index"] == 1
    assert chunks(shape.closing(made))[0]["choices"][0]["finish_reason"] == "tool_calls"
    document = json.loads(shape.document([choice(*parts)]))["choices"][0]
    assert document["message"]["content"] is None and document["message"]["reasoning_content"] == "why"
    assert document["message"]["tool_calls"][1]["function"] == {"name": "look", "arguments": '{"a": 1}'}
    assert document["finish_reason"] == "tool_calls"
    assert choice(*CALLED, ended=replace(ACCOUNT, reason="length")).finish == "length"


def test_a_withheld_answer_is_our_note_and_content_filter() -> None:
    """Whole or streamed it has our own words for a text, says so in the palimpsest object, and names no figures."""
    made = choice(ended=Deferred("held for approval", approval=GENERATION, url="https://gate.example/a"))
    document = json.loads(envelope().document([made]))
    assert document["choices"][0]["message"]["content"] == "held for approval"
    assert document["choices"][0]["finish_reason"] == "content_filter"
    assert document["palimpsest"] == ABOUT | {
        "author": "gateway",
        "withheld": "approval_required",
        "approval": {"id": str(GENERATION)},
    }
    assert document["usage"]["completion_tokens"] == 0
    (last,) = chunks(envelope().closing(made))
    assert last["choices"][0]["delta"] == {"content": "held for approval"}
    assert (last["choices"][0]["finish_reason"], last["palimpsest"]["withheld"]) == ("content_filter", "approval_required")


def test_usage_comes_in_a_chunk_without_choices() -> None:
    """With include_usage every chunk has usage null and one more chunk, without choices, has the figures."""
    shape, made = envelope(usage=True), choice()
    opening, last, usage = chunks(shape.opening(made) + shape.closing(made) + shape.trailer([made]))
    assert (opening["usage"], last["usage"]) == (None, None)
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 40)


def test_a_failure_is_an_error_chunk_without_done() -> None:
    """An error in a stream has the error document's shape and is not followed by [DONE]."""
    data = envelope().failure(LogDown("down"))
    assert chunks(data) == [
        {"error": {"message": "down", "type": "server_error", "param": None, "code": "audit_log_unavailable"}}
    ]
    assert DONE not in data


def test_no_forwards_is_zero_tokens_per_forward() -> None:
    """An answer that took no forward divides by nothing."""
    assert replace(ACCOUNT, forwards=0).extension()["tokens_per_forward"] == 0.0


SCORES = (TokenScore(b"h", -0.5, ((b"h", -0.5), (b"H", -1.5))), TokenScore("é".encode()[:1], -0.25))


def test_log_probabilities_have_openais_shape() -> None:
    """Each token is told with its text, log-probability and exact bytes, and so are its alternatives; only when asked for."""
    whole = json.loads(envelope().document([choice(Text("hé"), scores=SCORES)]))["choices"][0]["logprobs"]
    (delta,) = chunks(envelope().delta(Choice(0, 10, ABOUT, wants_logprobs=True), Text("hé"), SCORES))
    assert delta["choices"][0]["logprobs"] == whole
    first, second = whole["content"]
    assert (first["token"], first["logprob"], first["bytes"]) == ("h", -0.5, [104])
    assert first["top_logprobs"][1] == {"token": "H", "logprob": -1.5, "bytes": [72]}
    assert (second["token"], second["bytes"], second["top_logprobs"]) == ("\ufffd", [0xC3], [])
    assert json.loads(envelope().document([choice(Text("hé"))]))["choices"][0]["logprobs"] is None


def test_scores_without_a_part_wait_for_the_next_chunk() -> None:
    """Tokens whose text is kept back, as a call's are, are scored in the next chunk, and each once."""
    made = Choice(0, 10, ABOUT, wants_logprobs=True)
    made.hold(SCORES[:1])
    made.end(ACCOUNT)
    (delta,) = chunks(envelope().delta(made, Text("x"), SCORES[1:]))
    assert [score["bytes"] for score in delta["choices"][0]["logprobs"]["content"]] == [[104], [0xC3]]
    assert chunks(envelope().closing(made))[0]["choices"][0]["logprobs"] is None


def test_completions_are_text_with_columns_of_log_probabilities() -> None:
    """A completion's chunks are whole texts, its log-probabilities columns whose offsets go on from chunk to chunk."""
    shape, made = CompletionEnvelope(GENERATION, "m", 1, False), PlainChoice(0, 10, ABOUT, wants_logprobs=True)
    assert shape.opening(made) == b""
    first, second = chunks(shape.delta(made, Text("h"), SCORES[:1]) + shape.delta(made, Text("é"), SCORES[1:]))
    assert (first["object"], first["id"], first["choices"][0]["text"]) == ("text_completion", f"cmpl-{GENERATION.hex}", "h")
    assert first["choices"][0]["logprobs"] == {
        "tokens": ["h"], "token_logprobs": [-0.5], "top_logprobs": [{"h": -0.5, "H": -1.5}], "text_offset": [0],
    }  # fmt: skip
    assert second["choices"][0]["logprobs"]["text_offset"] == [1]
    made.end(ACCOUNT)
    assert chunks(shape.closing(made))[0]["choices"][0] == {
        "index": 0, "text": "", "logprobs": None, "finish_reason": "stop",
    }  # fmt: skip
    made.take(Text("hé"))
    assert json.loads(shape.document([made]))["choices"][0]["text"] == "hé"


def test_the_tokens_of_one_character_begin_at_its_place() -> None:
    """Offsets of a completion are places in its text, whether it is told at once or in chunks."""
    shape, text = CompletionEnvelope(GENERATION, "m", 1, False), "a😀b"
    scores = [TokenScore(data, -1.0) for data in (b"a", b"\xf0\x9f", b"\x98", b"\x80", b"b")]
    whole, told = (PlainChoice(0, 10, ABOUT, wants_logprobs=True) for _ in range(2))
    whole.take(Text(text))
    whole.hold(scores)
    whole.end(ACCOUNT)
    offsets = json.loads(shape.document([whole]))["choices"][0]["logprobs"]["text_offset"]
    pieces = ((Text("a"), scores[:1]), (Text("😀"), scores[1:4]), (Text("b"), scores[4:]))
    streamed = chunks(b"".join(shape.delta(told, *piece) for piece in pieces))
    assert offsets == [0, 1, 1, 1, 2]
    assert [place for chunk in streamed for place in chunk["choices"][0]["logprobs"]["text_offset"]] == offsets
