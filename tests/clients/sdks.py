"""The official Python clients, each with the smallest agent there can be: it must call a tool, and then may say a word.

Both answers are streamed, so that they can be held: an answer that is asked for as a document is deferred instead.
"""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai

from tests.clients.held import FILE, TASK
from tests.clients.loops import SECONDS, Loop, Place


def loops() -> list[Loop]:
    """One loop for each dialect that calls tools."""
    return [
        Loop("openai chat", openai.__version__, _chat),
        Loop("openai responses", openai.__version__, _responses),
        Loop("anthropic messages", anthropic.__version__, _messages),
    ]


def _tool() -> dict[str, Any]:
    """A tool whose arguments are bound to be good ones."""
    greetings = ["hello world", "good morning", "good evening"]
    properties = {"path": {"type": "string", "enum": [FILE]}, "content": {"type": "string", "enum": greetings}}
    return {"type": "object", "properties": properties, "required": ["path", "content"], "additionalProperties": False}


def _write(place: Place, arguments: Any) -> str:
    """Run the tool on a call's arguments."""
    (place.folder / arguments["path"]).write_text(arguments["content"], encoding="utf-8")
    return "written"


def _chat(place: Place) -> str:
    function = {"name": "write_file", "description": "Write a file.", "parameters": _tool(), "strict": True}
    turns: list[Any] = [{"role": "user", "content": TASK}]
    asked: dict[str, Any] = {"model": place.model, "tools": [{"type": "function", "function": function}], "max_tokens": 200}
    asked["parallel_tool_calls"] = False
    with openai.OpenAI(base_url=f"{place.url}/v1", api_key=place.key, max_retries=0, timeout=SECONDS) as client:
        with client.chat.completions.stream(messages=turns, tool_choice="required", **asked) as stream:
            said = stream.get_final_completion().choices[0].message
        turns.append(said.model_dump(exclude_none=True, exclude={"parsed"}))
        for call in said.tool_calls or ():
            done = _write(place, json.loads(call.function.arguments))
            turns.append({"role": "tool", "tool_call_id": call.id, "content": done})
        with client.chat.completions.stream(messages=turns, tool_choice="none", **asked) as stream:
            last = stream.get_final_completion()
    return "" if last.choices[0].message.content else "the last answer says nothing"


def _responses(place: Place) -> str:
    tool = {"type": "function", "name": "write_file", "description": "Write a file.", "parameters": _tool(), "strict": True}
    asked: dict[str, Any] = {"model": place.model, "tools": [tool], "max_output_tokens": 200, "parallel_tool_calls": False}
    with openai.OpenAI(base_url=f"{place.url}/v1", api_key=place.key, max_retries=0, timeout=SECONDS) as client:
        with client.responses.stream(input=TASK, tool_choice="required", **asked) as stream:
            said = stream.get_final_response()
        results: list[Any] = [
            {"type": "function_call_output", "call_id": item.call_id, "output": _write(place, json.loads(item.arguments))}
            for item in said.output
            if item.type == "function_call"
        ]
        with client.responses.stream(input=results, previous_response_id=said.id, tool_choice="none", **asked) as stream:
            last = stream.get_final_response()
    return "" if last.output_text else "the last answer says nothing"


def _messages(place: Place) -> str:
    tool = {"name": "write_file", "description": "Write a file.", "strict": True, "input_schema": _tool()}
    turns: list[Any] = [{"role": "user", "content": TASK}]
    asked: dict[str, Any] = {"model": place.model, "max_tokens": 200, "tools": [tool]}
    one: Any = {"type": "any", "disable_parallel_tool_use": True}
    with anthropic.Anthropic(base_url=place.url, api_key=place.key, max_retries=0, timeout=SECONDS) as client:
        with client.messages.stream(messages=turns, tool_choice=one, **asked) as stream:
            said = stream.get_final_message()
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": _write(place, block.input)}
            for block in said.content
            if block.type == "tool_use"
        ]
        turns += [{"role": "assistant", "content": said.content}, {"role": "user", "content": results}]
        with client.messages.stream(messages=turns, tool_choice={"type": "none"}, **asked) as stream:
            last = stream.get_final_message()
    return "" if last.content else "the last answer says nothing"
