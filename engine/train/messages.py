"""A conversation as people keep it, in the form of OpenAI's chat endpoint, checked and brought into the form templates take.

Every refusal is a ValueError that names the message and what is wrong with it; nothing is mended or left out in silence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NoReturn

from engine.tokenizer import THINK_END


class Role(StrEnum):
    """Who speaks in a turn, but for tools."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


_FIELDS: Final = {
    Role.SYSTEM: {"role", "content"},
    Role.USER: {"role", "content"},
    Role.ASSISTANT: {"role", "content", "tool_calls"},
    "tool": {"role", "content", "tool_call_id", "name"},
}
_FOLLOWS: Final[Mapping[str, set[str]]] = {
    "start": {Role.USER},
    Role.USER: {Role.ASSISTANT},
    Role.ASSISTANT: {Role.USER},
    "call": {"tool"},
    "tool": {"tool", Role.ASSISTANT},
}
"""Who may speak after whom; `call` stands for an assistant that calls tools."""
_TURNS: Final = (
    "after an optional system message, user and assistant must take turns and the assistant come last; "
    "results of tools stand between the assistant's calls and what it says then"
)
_NO_CALL: Final = 'a call must be {"function": {"name": ..., "arguments": ...}} with an object as arguments, or its JSON text'


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns as a chat template takes them, the last one the assistant's, and the tools that were offered."""

    turns: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, document: Any) -> Conversation:
        """What one line of a file says. Raises ValueError with the reason why it cannot be used."""
        if not isinstance(document, dict) or not isinstance(document.get("messages"), list):
            raise ValueError('it must be an object with a list "messages"')
        if document.get("system"):
            raise ValueError('"system" stands beside the messages: give it as the first of them')
        if document.get("functions"):
            raise ValueError('"functions" are of another age: give them as "tools"')
        tools = _tools(document.get("tools"))
        turns = tuple(_turn(given, f"messages[{index}]", tools) for index, given in enumerate(document["messages"]))
        _check_order(turns)
        return cls(turns, tuple(tools.values()))


def read_json(text: str) -> Any:
    """A JSON value in which every key stands once and every number is one. Raises ValueError."""
    return json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values under one key the first would be dropped in silence."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r:.80} comes twice in one object")
        found[key] = value
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _tools(given: Any) -> dict[str, Mapping[str, Any]]:
    """Tools by name."""
    if given is not None and not isinstance(given, list):
        raise ValueError('"tools" must be a list')
    tools: dict[str, Mapping[str, Any]] = {}
    for index, tool in enumerate(given or ()):
        told = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(told, dict) or not isinstance(told.get("name"), str) or not told["name"]:
            raise ValueError(f'tools[{index}] must be {{"type": "function", "function": {{"name": ..., "parameters": ...}}}}')
        if not isinstance(told.get("parameters", {}), dict):
            raise ValueError(f"tools[{index}] has parameters that are no JSON schema")
        if told["name"] in tools:
            raise ValueError(f"tools[{index}] has the name of an earlier one, {told['name']!r}")
        tools[told["name"]] = {"type": "function", "function": told}
    return tools


def _turn(given: Any, where: str, tools: Mapping[str, Any]) -> Mapping[str, Any]:
    role = given.get("role") if isinstance(given, dict) else None
    if role is None:
        raise ValueError(f'{where} must be an object with "role" and "content"')
    if not isinstance(role, str) or role not in _FIELDS:
        raise ValueError(f"{where} has role {role!r}: it must be one of {', '.join(_FIELDS)}")
    if strange := sorted(set(given) - _FIELDS[role]):
        raise ValueError(f"{where} has {strange[0]!r}: it may have {', '.join(sorted(_FIELDS[role]))} and nothing else")
    calls = _calls(given.get("tool_calls"), where, tools)
    content = given.get("content")
    if content is None and calls:
        content = ""
    if not isinstance(content, str):
        raise ValueError(f"{where} has a content that is not text")
    if role == Role.ASSISTANT and (not (content.strip() or calls) or THINK_END in content):
        raise ValueError(f"{where} must say something, and only the answer: no thinking")
    return {"role": role, "content": content} | ({"tool_calls": calls} if calls else {})


def _calls(given: Any, where: str, tools: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if given is not None and not isinstance(given, list):
        raise ValueError(f"{where} has tool_calls that are no list")
    return [_call(call, where, tools) for call in given or ()]


def _call(given: Any, where: str, tools: Mapping[str, Any]) -> Mapping[str, Any]:
    told = given.get("function") if isinstance(given, dict) else None
    if not isinstance(told, dict) or "name" not in told or told.keys() - {"name", "arguments"}:
        raise ValueError(f"{where}: {_NO_CALL}")
    name, arguments = told["name"], told.get("arguments", {})
    if not isinstance(name, str) or name not in tools:
        raise ValueError(f'{where} calls {name!r}, which is not among "tools"')
    if isinstance(arguments, str):
        try:
            arguments = read_json(arguments or "{}")
        except ValueError as error:
            raise ValueError(f"{where}: {_NO_CALL}") from error
    if not isinstance(arguments, dict):
        raise ValueError(f"{where}: {_NO_CALL}")
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def _check_order(turns: Sequence[Mapping[str, Any]]) -> None:
    before = "start"
    for turn in turns[1:] if turns and turns[0]["role"] == Role.SYSTEM else turns:
        if turn["role"] not in _FOLLOWS[before]:
            raise ValueError(_TURNS)
        before = "call" if "tool_calls" in turn else turn["role"]
    if not turns or turns[-1]["role"] != Role.ASSISTANT:
        raise ValueError(_TURNS)
