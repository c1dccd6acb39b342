"""/v1/responses, outward: every answer is told in the grammar, with the same numbers however it came."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls import CallArguments, Part, Reasoning
from gateway.dialects.responses.document import Head, generation_of, response_id
from gateway.dialects.responses.failures import body_of, status_of
from gateway.dialects.responses.narrator import Narrator, Told
from gateway.dialects.responses.wire import Body
from gateway.errors import (
    BadRequest,
    Deferred,
    EngineDown,
    GatewayError,
    LogDown,
    NotHere,
    OverBudget,
    Overloaded,
    Refused,
    UnknownModel,
    Withheld,
    told_once,
)
from gateway.pieces import Account, Text
from tests.gateway.dialects.answers import ACCOUNT, ANSWERS, CUTS, EXAMPLES, GENERATION, chunked, said
from tests.gateway.dialects.responses_grammar import ResponseReader
from tests.gateway.dialects.sse import GrammarError


def narrator(*, background: bool = False) -> Narrator:
    """One response that begins."""
    body = Body(model="palimpsest-tiny", input="hi", background=background)
    return Narrator(Head(GENERATION, "ar", "ab" * 32, body))


def told(parts: list[Part], account: Account = ACCOUNT, *, background: bool = False) -> list[Told]:
    """All events of an answer."""
    teller = narrator(background=background)
    return [*teller.opening(), *(each for part in parts for each in teller.tell(part)), *teller.closing(account)]


def read(data: bytes, cuts: list[int] | None = None, after: int = -1) -> ResponseReader:
    """A stream, read strictly to its end."""
    reader = ResponseReader(after)
    for chunk in chunked(data, cuts or []):
        reader.feed(chunk)
    reader.finish()
    return reader


def apart(parts: list[Part]) -> list[Part]:
    """The same answer, told character by character."""
    return [piece for part in parts for piece in _characters(part)]


def _characters(part: Part) -> list[Part]:
    match part:
        case Text(text=text):
            return [Text(each) for each in text]
        case Reasoning(text):
            return [Reasoning(each) for each in text]
        case CallArguments(text):
            return [CallArguments(each) for each in text]
        case _:
            return [part]


@EXAMPLES
@given(ANSWERS, CUTS, st.sampled_from(["stop", "length"]), st.booleans())
def test_any_answer_keeps_the_grammar(parts: list[Part], cuts: list[int], reason: str, background: bool) -> None:
    """However the bytes come, a strict reader gets numbers without a gap, sums that agree, and the items of the response."""
    account = replace(ACCOUNT, reason=reason)
    reader = read(b"".join(each.data for each in told(parts, account, background=background)), cuts)
    assert reader.response is not None
    assert reader.response["status"] == ("completed" if reason == "stop" else "incomplete")
    assert "".join(reader.text.split()) == said(parts, Text)
    assert reader.response["palimpsest"] == account.extension()
    assert reader.response["usage"]["input_tokens_details"] == {"cached_tokens": 32, "cache_write_tokens": 0}


@EXAMPLES
@given(ANSWERS, st.integers(-1, 80))
def test_the_same_answer_has_the_same_events(parts: list[Part], after: int) -> None:
    """Told in other pieces the events are the very same, so a reader may come back after any of them."""
    whole = told(parts)
    assert told(apart(parts)) == whole
    assert [each.number for each in whole] == list(range(len(whole)))
    rest = b"".join(each.data for each in whole if each.number > after)
    if after < len(whole) - 1:
        assert read(rest, after=after).response == read(b"".join(each.data for each in whole)).response


@EXAMPLES
@given(ANSWERS, st.integers(0, 10_000))
def test_a_stream_that_breaks_off_is_no_response(parts: list[Part], size: int) -> None:
    """Whatever is missing at its end, a strict reader notices."""
    data = b"".join(each.data for each in told(parts))
    with pytest.raises(GrammarError):
        read(data[: min(size, len(data) - 1)])


def test_a_beat_is_a_data_event_that_nobody_comes_back_before() -> None:
    """It repeats response.in_progress with the number of the last event, at any time."""
    teller = narrator()
    stream = [each.data for each in teller.opening()] + [teller.beat()]
    stream += [each.data for each in teller.tell(Text("one two three"))] + [teller.beat()] * 2
    reader = read(b"".join([*stream, *(each.data for each in teller.closing(ACCOUNT))]))
    assert (reader.beats, reader.text) == (3, "one two three")


ENDINGS: list[tuple[GatewayError | None, str, str | None]] = [
    (Withheld("held"), "failed", "invalid_prompt"),
    (EngineDown("gone"), "failed", "server_error"),
    (Overloaded("full", retry_seconds=1), "failed", "rate_limit_exceeded"),
    (None, "cancelled", None),
]


@pytest.mark.parametrize(("error", "status", "code"), ENDINGS, ids=[case[1] + str(case[2]) for case in ENDINGS])
def test_an_answer_that_ends_early_says_why(error: GatewayError | None, status: str, code: str | None) -> None:
    """A refusal after the first byte fails with the code at which Codex does not ask again; open items are closed first."""
    teller = narrator()
    events = [
        *teller.opening(),
        *teller.tell(Text("a word")),
        *(teller.cancelling() if error is None else teller.failing(error)),
    ]
    reader = read(b"".join(each.data for each in events))
    assert reader.response is not None and reader.response["status"] == status
    assert reader.items[0]["status"] == "incomplete" and reader.text == "a word"
    assert (reader.response["error"] or {}).get("code") == code


ERRORS: list[tuple[GatewayError, int, str | None, str | None]] = [
    (BadRequest("x"), 400, "invalid_request", "false"),
    (Refused("x", status=403), 400, "policy_refused", "false"),
    (Refused("x", status=429, code="insufficient_quota"), 400, "insufficient_quota", "false"),
    (Deferred("x", approval=GENERATION, url="https://gate.example/a"), 400, "approval_required", "false"),
    (Withheld("x", code="answer_blocked"), 400, "answer_blocked", "false"),
    (UnknownModel("x"), 400, "model_not_found", "false"),
    (OverBudget("x", retry_seconds=None), 400, "budget_exceeded", "false"),
    (OverBudget("x", retry_seconds=5), 429, "budget_exceeded", None),
    (NotHere("x"), 404, "not_found", "false"),
    (Overloaded("x", retry_seconds=3), 429, "overloaded", None),
    (LogDown("x"), 503, "audit_log_unavailable", None),
]


@pytest.mark.parametrize(("error", "status", "code", "retry"), ERRORS, ids=[f"{case[2]}-{case[1]}" for case in ERRORS])
def test_a_refusal_before_the_first_byte_is_told_once(
    error: GatewayError, status: int, code: str | None, retry: str | None
) -> None:
    """What sending again cannot mend is 400; what may be tried again says when."""
    found: dict[str, Any] = json.loads(body_of(error))["error"]
    assert (status_of(error), found["code"]) == (status, code)
    assert told_once(error).get("x-should-retry") == retry


def test_ids_name_their_generation() -> None:
    """A response id gives its generation back; anything else gives none."""
    assert generation_of(response_id(GENERATION)) == GENERATION
    hostile = ("", "resp_", "resp_xyz", "msg_" + "0" * 32, "resp_" + "g" * 32, "resp_{" + "0" * 30 + "}", "resp_" + "0" * 33)
    assert [generation_of(text) for text in hostile] == [None] * len(hostile)
