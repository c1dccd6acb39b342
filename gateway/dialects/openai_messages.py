"""The conversation of an OpenAI chat request: its messages, the tools on offer, and whether they must be called.

Tools of a type that nobody here can call (hosted search and the like) are left out, as if they had not been offered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NoReturn

import msgspec

from gateway.call_forms import NAME_MOST
from gateway.dialects.body import check_inner
from gateway.dialects.request import (
    AssistantTurn,
    Calling,
    CallOf,
    SystemTurn,
    ToolCall,
    ToolChoice,
    ToolSpec,
    ToolTurn,
    Turn,
    UserTurn,
)
from gateway.errors import BadRequest

ROLES: Final = ("system", "developer", "user", "assistant", "tool")


class Part(msgspec.Struct):
    """One part of a message's content."""

    type: str
    text: str | None = None
    refusal: str | None = None


class Function(msgspec.Struct):
    """The function that a past call named."""

    name: str
    arguments: str | dict[str, Any] | None = None


class Call(msgspec.Struct):
    """A past call of the assistant."""

    function: Function
    id: str | None = None


class Message(msgspec.Struct):
    """One message, as far as it is read."""

    role: str
    content: str | list[Part] | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    function_call: Any = None
    reasoning_content: str | None = None


class Declared(msgspec.Struct):
    """A function on offer."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct):
    """A tool on offer; only those of type `function` can be called."""

    type: str
    function: Declared | None = None


def turns(messages: list[Message]) -> tuple[Turn, ...]:
    """The conversation. Raises BadRequest with the path of what is wrong."""
    if not messages:
        raise BadRequest("messages is empty: send at least one message", code="empty_messages", param="messages")
    told = (call.function.arguments for message in messages for call in message.tool_calls or ())
    check_inner((text for text in told if isinstance(text, str)), "messages")
    return tuple(_turn(message, f"messages[{place}]") for place, message in enumerate(messages))


def _turn(message: Message, path: str) -> Turn:
    match message.role:
        case "system" | "developer":
            return SystemTurn(_content(message, path))
        case "user":
            return UserTurn(_content(message, path))
        case "tool":
            return ToolTurn(message.tool_call_id or "", _content(message, path))
        case "function":
            refuse_functions(f"{path}.role")
        case "assistant":
            if message.function_call is not None:
                refuse_functions(f"{path}.function_call")
            said = message.refusal or "" if message.content is None else _content(message, path)
            calls = enumerate(message.tool_calls or ())
            return AssistantTurn(
                said,
                message.reasoning_content or "",
                tuple(_call(call, f"{path}.tool_calls[{place}]") for place, call in calls),
            )
    raise BadRequest(
        f"{path} is a {message.role!r} turn; served roles are {', '.join(ROLES)}",
        code="unsupported_message",
        param=f"{path}.role",
    )


def refuse_functions(param: str) -> NoReturn:
    """What this dialect had before tools; a call that is passed over would be missing from the prompt. Raises BadRequest."""
    message = f"{param}: functions are not served, use tools: tool_choice, tool_calls, and the role 'tool' with a tool_call_id"
    raise BadRequest(message, code="unsupported_parameter", param=param)


def _content(message: Message, path: str) -> str:
    if message.content is None:
        raise BadRequest(f"{path}.content is missing: give a string", code="invalid_type", param=f"{path}.content")
    if isinstance(message.content, str):
        return message.content
    return "".join(_text(part, f"{path}.content[{place}]") for place, part in enumerate(message.content))


def _text(part: Part, path: str) -> str:
    if part.type not in ("text", "refusal"):
        raise BadRequest(
            f"{path} is of type {part.type!r}; only text is served", code="unsupported_content", param=f"{path}.type"
        )
    told = part.text if part.type == "text" else part.refusal
    if told is None:
        raise BadRequest(f"{path}.{part.type} is missing: give a string", code="invalid_type", param=f"{path}.{part.type}")
    return told


def _call(call: Call, path: str) -> ToolCall:
    told = call.function.arguments
    text = json.dumps(told, ensure_ascii=False) if isinstance(told, dict) else told or "{}"
    return past_call(call.id or "", call.function.name, text, f"{path}.function.arguments")


def past_call(call_id: str, name: str, arguments: str, param: str) -> ToolCall:
    """A call that a client sends back. Raises BadRequest where its arguments are not JSON text of an object."""
    try:
        good = isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        good = False
    if not good:
        raise BadRequest(f"{param} must be the JSON text of an object", code="invalid_type", param=param)
    return ToolCall(call_id, name, arguments)


def tools(offered: list[Tool]) -> tuple[ToolSpec, ...]:
    """The functions on offer. Raises BadRequest for one that is not described, or a name that is twice or cannot be written."""
    found: list[ToolSpec] = []
    refuse_twins(_named(offered))
    for place, tool in enumerate(offered):
        if tool.type != "function":
            continue
        path = f"tools[{place}].function"
        if tool.function is None:
            raise BadRequest(f"{path} is missing: describe the function", code="invalid_type", param=path)
        told = tool.function
        found.append(tool_spec(told.name, told.description, told.parameters, strict=bool(told.strict), param=f"{path}.name"))
    return tuple(found)


def _named(offered: Sequence[Tool]) -> Iterator[tuple[str, str]]:
    for place, tool in enumerate(offered):
        if tool.type == "function" and tool.function is not None:
            yield tool.function.name, f"tools[{place}].function.name"


def refuse_twins(named: Iterable[tuple[str, str]]) -> None:
    """Nobody could say which of two tools with one name a call means. `named`: names and their params. Raises BadRequest."""
    seen = set[str]()
    for name, param in named:
        if name in seen:
            raise BadRequest(f"two tools are called {name!r}: rename one", code="conflict", param=param)
        seen.add(name)


def tool_spec(name: str, description: str | None, schema: dict[str, Any] | None, *, strict: bool, param: str) -> ToolSpec:
    """A tool whose name can be written in a call. Raises BadRequest."""
    if not 1 <= len(name) <= NAME_MOST or name != name.strip() or any(mark in name for mark in "<>\n"):
        message = f"{param} must have 1 to {NAME_MOST} characters, no angle brackets and no line break"
        raise BadRequest(message, code="out_of_range", param=param)
    return ToolSpec(name, description or "", schema or {"type": "object", "properties": {}}, strict)


def tool_choice(asked: Any, offered: tuple[ToolSpec, ...]) -> ToolChoice:
    """Whether tools may or must be called. Raises BadRequest for a choice that is none, or of a tool that is not offered."""
    match asked:
        case None | "auto" | "none":
            return Calling(asked or "auto")
        case "required" if offered:
            return Calling.REQUIRED
        case {"type": "function", "function": {"name": str(name)}} if any(tool.name == name for tool in offered):
            return CallOf(name)
    message = 'tool_choice must be "none", "auto", "required" or {"type": "function", "function": {"name"}} of an offered tool'
    raise BadRequest(message, code="invalid_tool_choice", param="tool_choice")
