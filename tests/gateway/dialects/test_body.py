"""A body is read at once only if it holds few enough values; what its strings hold is not counted."""

from __future__ import annotations

import json
from time import thread_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import body, openai_chat
from gateway.dialects.body import VALUES_MOST, text_of
from gateway.dialects.responses.decode import chat_of, read
from gateway.errors import BadRequest

ODD = st.text(alphabet='",[{\\x\n')


@given(st.recursive(ODD, lambda inner: st.lists(inner) | st.dictionaries(ODD, inner), max_leaves=20), st.integers(0, 40))
def test_values_are_counted_outside_of_strings(document: object, most: int) -> None:
    """However many commas, brackets, quotes and backslashes its strings hold, a body is as big as its structure."""

    def marks(value: object) -> int:
        if isinstance(value, list | dict):
            inner = list(value.values()) if isinstance(value, dict) else value
            return 1 + max(0, len(inner) - 1) + sum(map(marks, inner))
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body, "VALUES_MOST", most)
        assert body._has_too_many(json.dumps(document).encode()) is (marks(document) > most)


def test_a_body_of_too_many_values_is_refused_in_words() -> None:
    """One value more than the limit is a 400 that says so; as many in one string are none."""
    least = json.dumps(["x"] * VALUES_MOST).encode()
    with pytest.raises(BadRequest, match="100000 values"):
        text_of(json.dumps(["x"] * (VALUES_MOST + 1)).encode())
    assert text_of(least) == least.decode()
    quoted = json.dumps(json.dumps([["x", {}]] * VALUES_MOST)).encode()
    assert text_of(quoted) == quoted.decode()


def chat(arguments: list[str]) -> Any:
    """A chat request whose past calls have these arguments, decoded."""
    calls = [{"id": "c", "function": {"name": "f", "arguments": text}} for text in arguments]
    return openai_chat.decode(json.dumps({"model": "m", "messages": [{"role": "assistant", "tool_calls": calls}]}).encode())


def responses(arguments: list[str]) -> Any:
    """The same as a response."""
    items = [{"type": "function_call", "call_id": "c", "name": "f", "arguments": text} for text in arguments]
    return chat_of(read(json.dumps({"model": "m", "input": items}).encode()), [])


@pytest.mark.parametrize("decode", [chat, responses])
def test_arguments_of_calls_are_counted_like_a_body(decode: Any) -> None:
    """All arguments of a request together may hold as many values as a body; what their strings hold is none."""
    half = json.dumps({"a": [[]] * (VALUES_MOST // 4)})
    for refused in ([json.dumps({"a": [[]] * VALUES_MOST})], [half] * 3):
        with pytest.raises(BadRequest, match="100000 values") as caught:
            decode(refused)
        assert caught.value.code == "too_many"
    decode([half, json.dumps({"a": half * 3})])


def test_a_body_of_strings_is_counted_in_a_moment() -> None:
    """However many strings stand between the marks, and however they stand there, counting takes no time."""
    for pieces in (b'""' * 450_000 + b"," * (VALUES_MOST + 1), b'["' + b'":"",","' * VALUES_MOST + b'"]'):
        started = thread_time()
        assert body._has_too_many(pieces)
        assert thread_time() - started < 0.1
