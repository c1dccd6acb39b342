"""OpenAI's dialect, outward: documents and chunks that the official client reads, with our own object beside."""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

from gateway.dialects.openai_reply import DONE, Envelope
from gateway.errors import LogDown
from gateway.pieces import Account, Text
from gateway.scores import TokenScore

GENERATION = UUID("01936f5e-0000-7000-8000-000000000001")
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
)


def envelope(*, usage: bool) -> Envelope:
    """The envelope of one answer."""
    return Envelope(GENERATION, "palimpsest-tiny", 1_700_000_000, usage)


def chunks(data: bytes) -> list[dict[str, Any]]:
    """The JSON of each event but [DONE]."""
    events = data.decode().split("\n\n")
    return [json.loads(event.removeprefix("data: ")) for event in events if event and event != "data: [DONE]"]


def test_a_document_has_text_usage_and_account() -> None:
    """A whole answer carries the text, the usage and the palimpsest object with its figures as numbers."""
    document = json.loads(envelope(usage=False).document(Text("hi"), ACCOUNT))
    assert document["choices"][0]["message"]["content"] == "hi"
    assert document["choices"][0]["finish_reason"] == "stop"
    assert document["usage"] == {"prompt_tokens": 10, "completion_tokens": 30, "total_tokens": 40}
    assert document["palimpsest"]["tokens_per_forward"] == 3.75
    assert document["palimpsest"]["seed"] == 2**64 - 1
    assert document["palimpsest"]["records"] == 9


def test_a_stream_is_lf_data_lines_ending_in_done() -> None:
    """Chunks are one data line and a blank line each, and the last is [DONE]."""
    shape = envelope(usage=False)
    data = shape.opening() + shape.delta(Text("a\nb")) + shape.closing(ACCOUNT)
    assert b"\r" not in data
    assert data.endswith(DONE)
    opening, delta, last = chunks(data)
    assert opening["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert delta["choices"][0]["delta"] == {"content": "a\nb"}
    assert (last["choices"][0]["finish_reason"], last["palimpsest"]["mode"]) == ("stop", "linear_spec")
    assert "usage" not in opening


def test_usage_comes_in_a_chunk_without_choices() -> None:
    """With include_usage every chunk has usage null and one more chunk, without choices, has the figures."""
    shape = envelope(usage=True)
    opening, last, usage = chunks(shape.opening() + shape.closing(ACCOUNT))
    assert (opening["usage"], last["usage"]) == (None, None)
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 40)


def test_a_failure_is_an_error_chunk_without_done() -> None:
    """An error in a stream has the error document's shape and is not followed by [DONE]."""
    data = envelope(usage=False).failure(LogDown("down"))
    assert chunks(data) == [
        {"error": {"message": "down", "type": "server_error", "param": None, "code": "audit_log_unavailable"}}
    ]
    assert DONE not in data


def test_no_forwards_is_zero_tokens_per_forward() -> None:
    """An answer that took no forward divides by nothing."""
    assert replace(ACCOUNT, forwards=0).extension()["tokens_per_forward"] == 0.0


SCORED = Text("hé", (TokenScore(b"h", -0.5, ((b"h", -0.5), (b"H", -1.5))), TokenScore("é".encode()[:1], -0.25)))


def test_log_probabilities_have_openais_shape() -> None:
    """Each token is told with its text, log-probability and exact bytes, and so are its alternatives; only when asked for."""
    shape = Envelope(GENERATION, "palimpsest-tiny", 1_700_000_000, False, wants_logprobs=True)
    whole = json.loads(shape.document(SCORED, ACCOUNT))["choices"][0]["logprobs"]
    (delta,) = chunks(shape.delta(SCORED))
    assert delta["choices"][0]["logprobs"] == whole
    first, second = whole["content"]
    assert (first["token"], first["logprob"], first["bytes"]) == ("h", -0.5, [104])
    assert first["top_logprobs"][1] == {"token": "H", "logprob": -1.5, "bytes": [72]}
    assert (second["token"], second["bytes"], second["top_logprobs"]) == ("\ufffd", [0xC3], [])
    assert json.loads(envelope(usage=False).document(SCORED, ACCOUNT))["choices"][0]["logprobs"] is None
