"""/v1/messages, outward: every answer is told in the grammar, the same whole and streamed, in any pieces of bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls import CallArguments, CallBegun, CallEnded, Part, Reasoning
from gateway.dialects.messages.failures import body_of, status_of
from gateway.dialects.messages.reply import PING, MessageReply
from gateway.errors import (
    BadRequest,
    GatewayError,
    LogDown,
    OverBudget,
    Overloaded,
    Refused,
    Unauthenticated,
    UnknownModel,
    Withheld,
    told_once,
)
from gateway.pieces import Account, Text
from tests.gateway.dialects.answers import ACCOUNT, ANSWERS, CUTS, EXAMPLES, GENERATION, chunked, said
from tests.gateway.dialects.messages_grammar import MessageReader
from tests.gateway.dialects.sse import GrammarError


def reply() -> MessageReply:
    """One answer that begins."""
    return MessageReply(GENERATION, "palimpsest-tiny", 40)


def streamed(parts: list[Part], account: Account = ACCOUNT) -> bytes:
    """The whole stream of an answer, with a ping after the start."""
    told = reply()
    return b"".join([told.opening(), PING, *map(told.tell, parts), told.closing(account)])


def document(parts: list[Part], account: Account = ACCOUNT) -> dict[str, Any]:
    """The answer of a request without a stream."""
    told = reply()
    for part in parts:
        told.tell(part)
    found: dict[str, Any] = json.loads(told.document(account))
    return found


def read(data: bytes, cuts: list[int] | None = None) -> MessageReader:
    """A stream, read strictly to its end."""
    reader = MessageReader()
    for chunk in chunked(data, cuts or []):
        reader.feed(chunk)
    reader.finish()
    return reader


@EXAMPLES
@given(ANSWERS, CUTS, st.sampled_from(["stop", "length"]))
def test_any_answer_keeps_the_grammar(parts: list[Part], cuts: list[int], reason: str) -> None:
    """However the bytes come, a strict reader gets the blocks, the reason and the counts of the document."""
    account = replace(ACCOUNT, reason=reason)
    reader, whole = read(streamed(parts, account), cuts), document(parts, account)
    assert reader.blocks == whole["content"]
    assert reader.delta is not None and (reader.pings, reader.comments) == (1, 1)
    assert reader.delta["delta"] == {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    assert reader.delta["usage"] == whole["usage"]
    assert "".join(reader.text.split()) == said(parts, Text)
    calls = [json.loads(block) for block in _arguments(parts)]
    assert [block["input"] for block in reader.blocks if block["type"] == "tool_use"] == calls


def _arguments(parts: list[Part]) -> list[str]:
    found: list[str] = []
    for part in parts:
        if isinstance(part, CallBegun):
            found.append("")
        elif isinstance(part, CallArguments):
            found[-1] += part.json
    return found


@EXAMPLES
@given(ANSWERS, st.integers(0, 10_000))
def test_a_stream_that_breaks_off_is_no_message(parts: list[Part], size: int) -> None:
    """Whatever is missing at its end, a strict reader notices."""
    data = streamed(parts)
    with pytest.raises(GrammarError):
        read(data[: min(size, len(data) - 1)])


def test_reasons_and_counts() -> None:
    """The reason says what ended the answer; what came from the cache is counted by itself."""
    call: list[Part] = [CallBegun("toolu_1", "read"), CallArguments('{"path":"a"}'), CallEnded()]
    assert document([Text("a")])["stop_reason"] == "end_turn"
    assert document(call)["stop_reason"] == "tool_use"
    assert document(call, replace(ACCOUNT, reason="length"))["stop_reason"] == "max_tokens"
    stopped = document([Text("a")], replace(ACCOUNT, stop="END"))
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", "END")
    assert stopped["usage"] == {
        "input_tokens": 8,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 32,
        "output_tokens": 30,
    }
    assert document([Reasoning("hm"), Text("so")])["content"][0] == {
        "type": "thinking",
        "thinking": "hm",
        "signature": GENERATION.hex,
    }


def test_a_refusal_is_a_message_of_the_gateways() -> None:
    """After the first byte a held answer ends as a refusal that says whose words it holds; no error event comes."""
    told = reply()
    reader = read(told.opening() + PING + told.refusal(Withheld("not this one", code="answer_rejected")))
    assert reader.text == "not this one" and reader.delta is not None
    assert reader.delta["delta"]["stop_reason"] == "refusal"
    ours = {"author": "gateway", "code": "answer_rejected", "withheld": "answer_rejected"}
    assert reader.delta["palimpsest"] == {"generation_id": str(GENERATION)} | ours
    whole = json.loads(reply().refused_document(Withheld("blocked", code="answer_blocked")))
    assert (whole["stop_reason"], whole["content"]) == ("refusal", [{"type": "text", "text": "blocked"}])


ERRORS: list[tuple[GatewayError, int, str, str | None]] = [
    (BadRequest("x"), 400, "invalid_request_error", "false"),
    (Unauthenticated("x"), 401, "authentication_error", "false"),
    (Refused("x", status=403), 409, "permission_error", "false"),
    (Refused("x", status=413), 413, "request_too_large", "false"),
    (Refused("x", status=429), 429, "rate_limit_error", "false"),
    (Withheld("x"), 409, "permission_error", "false"),
    (UnknownModel("x"), 404, "not_found_error", "false"),
    (Overloaded("x", retry_seconds=3), 429, "rate_limit_error", None),
    (OverBudget("x", retry_seconds=None), 429, "rate_limit_error", "false"),
    (OverBudget("x", retry_seconds=5), 429, "rate_limit_error", None),
    (LogDown("x"), 503, "overloaded_error", None),
]


@pytest.mark.parametrize(("error", "status", "kind", "retry"), ERRORS, ids=lambda case: getattr(case, "code", None))
def test_errors_have_the_status_at_which_a_client_does_not_storm(
    error: GatewayError, status: int, kind: str, retry: str | None
) -> None:
    """A refusal is told once and for all; what may be tried again says when."""
    request = uuid4()
    found = json.loads(body_of(error, request))
    assert (status_of(error), found["error"]["type"], found["request_id"]) == (status, kind, str(request))
    assert told_once(error).get("x-should-retry") == retry
    assert ("retry-after" in told_once(error)) == (retry is None)
