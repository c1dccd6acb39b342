"""The key of a request: equal for what means the same, whoever's client says it and how; different for all else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.errors import KeyUnavailable
from gateway.approvals.request_key import KEY_FILE, RequestKeys, meaning
from gateway.dialects import openai_chat
from gateway.dialects.messages.decode import decode as of_messages
from gateway.dialects.request import AskedSampling, ChatRequest, ComputeKnob, Conversation
from gateway.dialects.responses.decode import chat_of, read
from gateway.registry import Subject
from tests.gateway.dialects.answers import SAID, VALUES

ME: Final = Subject("acme", "key-1")
SCHEMA: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
EXAMPLES: Final = settings(max_examples=60)
WORDS: Final = st.text(st.sampled_from("ab cé😀"), min_size=1, max_size=12).filter(str.strip)


@st.composite
def asked(draw: st.DrawFn) -> dict[str, Any]:
    """A question that every dialect can put, after some rounds of question, call and result."""
    return {
        "system": draw(st.none() | WORDS),
        "rounds": draw(st.lists(st.tuples(WORDS, st.dictionaries(SAID, VALUES, max_size=2), WORDS), max_size=2)),
        "last": draw(WORDS),
        "temperature": draw(st.sampled_from([0, 0.5, 1])),
        "seed": draw(st.none() | st.integers(0, 9)),
        "most": draw(st.integers(1, 99)),
        "tools": draw(st.booleans()),
        "workflow": draw(st.none() | WORDS),
    }


def common(told: dict[str, Any], noise: dict[str, Any]) -> dict[str, Any]:
    """What the dialects spell alike."""
    seed = {} if told["seed"] is None else {"seed": told["seed"]}
    own = {} if told["workflow"] is None else {"palimpsest": {"workflow": told["workflow"]}}
    return {"model": "tiny:ar", "temperature": told["temperature"]} | seed | own | noise


def chat(told: dict[str, Any], call: str = "c", **noise: Any) -> ChatRequest:
    """The question in OpenAI's older dialect."""
    turns: list[dict[str, Any]] = [{"role": "system", "content": told["system"]}] if told["system"] else []
    for place, (question, arguments, result) in enumerate(told["rounds"]):
        function = {"name": "weather", "arguments": json.dumps(arguments)}
        made = [{"id": f"{call}{place}", "type": "function", "function": function}]
        turns += [{"role": "user", "content": question}, {"role": "assistant", "tool_calls": made}]
        turns += [{"role": "tool", "tool_call_id": f"{call}{place}", "content": result}]
    offered = {"name": "weather", "description": "Look.", "parameters": SCHEMA}
    tools = {"tools": [{"type": "function", "function": offered}]} if told["tools"] else {}
    body = {"messages": [*turns, {"role": "user", "content": told["last"]}], "max_tokens": told["most"]}
    return openai_chat.decode(json.dumps(body | tools | common(told, noise)).encode())


def messages(told: dict[str, Any], call: str = "toolu_", **noise: Any) -> ChatRequest:
    """The same in Anthropic's."""
    turns: list[dict[str, Any]] = []
    for place, (question, arguments, result) in enumerate(told["rounds"]):
        made = {"type": "tool_use", "id": f"{call}{place}", "name": "weather", "input": arguments}
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": [made]}]
        turns += [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": f"{call}{place}", "content": result}]}]
    tools = {"tools": [{"name": "weather", "description": "Look.", "input_schema": SCHEMA}]} if told["tools"] else {}
    system = {"system": [{"type": "text", "text": told["system"]}]} if told["system"] else {}
    body = {"messages": [*turns, {"role": "user", "content": told["last"]}], "max_tokens": told["most"]}
    return of_messages(json.dumps(body | system | tools | common(told, noise)).encode())


def responses(told: dict[str, Any], **noise: Any) -> ChatRequest:
    """The same in OpenAI's newer one."""
    items: list[dict[str, Any]] = []
    for place, (question, arguments, result) in enumerate(told["rounds"]):
        call = {"type": "function_call", "call_id": f"fc{place}", "name": "weather", "arguments": json.dumps(arguments)}
        items += [{"role": "user", "content": question}, call]
        items += [{"type": "function_call_output", "call_id": f"fc{place}", "output": result}]
    tool = {"type": "function", "name": "weather", "description": "Look.", "parameters": SCHEMA}
    tools = {"tools": [tool]} if told["tools"] else {}
    system = {"instructions": told["system"]} if told["system"] else {}
    body = {"input": [*items, {"role": "user", "content": told["last"]}], "max_output_tokens": told["most"]}
    return chat_of(read(json.dumps(body | system | tools | common(told, noise)).encode()), [])


@EXAMPLES
@given(asked())
def test_three_dialects_mean_the_same(told: dict[str, Any]) -> None:
    """One question has one meaning in every dialect, streamed or not, whatever its calls are named and its metadata say."""
    same = [
        chat(told),
        chat(told, call="other", stream=True, user="me", logprobs=True, n=2),
        messages(told),
        messages(told, call="x", stream=True, metadata={"user_id": "me"}),
        responses(told),
        responses(told, stream=True, store=False, metadata={"a": "b"}, prompt_cache_key="k"),
    ]
    assert all(meaning(each) == meaning(same[0]) for each in same)


CHANGES: Final[dict[str, dict[str, Any]]] = {
    "model": {"model": "other"},
    "seed": {"seed": 77},
    "most": {"max_tokens": 1234},
    "stop": {"stop": ("x",)},
    "index": {"index": 1},
    "sampling": {"sampling": AskedSampling(temperature=0.25)},
    "knob": {"knob": ComputeKnob(risk="high")},
    "thought": {"knob": ComputeKnob(think_budget=0)},
    "prompt": {"prompt": Conversation(())},
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_the_answer_changes_the_key(tmp_path: Path, change: str) -> None:
    """Another model, seed, length, stop, choice, sampling, knob, bound of a thought or prompt is another request."""
    keys, one = RequestKeys(tmp_path), chat({**BASE})
    assert keys.of(ME, one).exact == keys.of(ME, replace(one)).exact
    assert keys.of(ME, one).exact != keys.of(ME, replace(one, **CHANGES[change])).exact


BASE: Final = {
    "system": "Be kind.", "rounds": [("Where?", {"city": "Oslo"}, "rain")], "last": "And now?", "temperature": 0, "seed": 7,
    "most": 40, "tools": True, "workflow": None,
}  # fmt: skip


def test_a_request_without_a_bound_of_thoughts_has_the_key_it_had_before_there_was_one() -> None:
    """What was held by an earlier release is found again: a knob that nobody turned is not told."""
    own = meaning(chat({**BASE}))[2]
    assert own.keys() == {
        "mode", "block_length", "threshold", "max_steps", "seed_first", "numeric", "workflow", "risk", "latency_target_ms",
    }  # fmt: skip
    assert meaning(chat({**BASE}, palimpsest={"think_budget": 8}))[2] == own | {"think_budget": 8}


def test_a_key_is_one_callers(tmp_path: Path) -> None:
    """Another tenant, another API key or another installation never shares a key; another process of this one always does."""
    one, keys = chat({**BASE}), RequestKeys(tmp_path / "a")
    others = [keys.of(Subject("other", "key-1"), one), keys.of(Subject("acme", "key-2"), one)]
    others.append(RequestKeys(tmp_path / "b").of(ME, one))
    assert keys.of(ME, one).exact not in {other.exact for other in others}
    assert RequestKeys(tmp_path / "a").of(ME, one) == keys.of(ME, one)


def test_a_damaged_secret_is_told(tmp_path: Path) -> None:
    """A secret that was cut is never made anew in silence: the keys of what is held would be lost."""
    RequestKeys(tmp_path)
    (tmp_path / KEY_FILE).write_bytes(b"short")
    with pytest.raises(KeyUnavailable, match="restore"):
        RequestKeys(tmp_path)


def turn(keys: RequestKeys, chat: ChatRequest, session: str | None = "s-1") -> bytes | None:
    """The key of the turn."""
    return keys.of(ME, chat, session).turn


def test_a_turn_of_a_session_outlives_other_tools_and_another_system_prompt(tmp_path: Path) -> None:
    """Claude Code's variants of one turn share its key; another turn, session, or question beside the conversation does not."""
    keys, one = RequestKeys(tmp_path), messages({**BASE})
    own = turn(keys, one)
    assert own is not None and turn(keys, one, None) is None
    assert own == turn(keys, messages(BASE | {"system": "Be brief.", "most": 99}))
    more = one.prompt
    assert isinstance(more, Conversation)
    assert own == turn(keys, replace(one, prompt=replace(more, tools=more.tools * 2)))
    others = [
        turn(keys, one, "s-2"),
        turn(keys, messages(BASE | {"last": "And later?"})),
        turn(keys, messages(BASE | {"rounds": []})),
        turn(keys, messages(BASE | {"tools": False})),
        turn(keys, messages({**BASE}, tool_choice={"type": "auto", "disable_parallel_tool_use": True})),
        turn(keys, replace(one, prompt=replace(more, thinking=True))),
        turn(keys, messages({**BASE}, output_config={"format": {"type": "json_schema", "schema": SCHEMA}})),
    ]
    assert own not in others
    assert len(keys.of(ME, one, "s-1").all) == 2
