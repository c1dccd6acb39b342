"""Anthropic's messages and tools in the gateway's own words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from gateway.dialects.body import given
from gateway.dialects.messages.wire import Block, Message, Tool, ToolChoice
from gateway.dialects.openai_messages import past_call, refuse_twins, tool_spec
from gateway.dialects.request import AssistantTurn, Calling, CallOf, SystemTurn, ToolCall, ToolSpec, ToolTurn, Turn, UserTurn
from gateway.dialects.request import ToolChoice as Choosing
from gateway.errors import BadRequest


def turns(system: str | list[Block] | None, messages: Sequence[Message]) -> tuple[Turn, ...]:
    """The conversation. Raises BadRequest for an empty one and for blocks that are not served."""
    if not messages:
        raise BadRequest("messages is empty: send at least one message", code="empty_messages", param="messages")
    told = _text(system, "system") if system else ""
    found: list[Turn] = [SystemTurn(told)] if told else []
    for place, message in enumerate(messages):
        found += _turns(message, f"messages[{place}]")
    return tuple(found)


def tools(given: Sequence[Tool] | None) -> tuple[ToolSpec, ...]:
    """The tools that the client runs itself; those that only Anthropic could run are passed over. Raises BadRequest."""
    own = [(tool, f"tools[{place}].name") for place, tool in enumerate(given or ()) if tool.type in (None, "custom")]
    refuse_twins((tool.name, param) for tool, param in own)
    return tuple(
        tool_spec(tool.name, tool.description, tool.input_schema, strict=bool(tool.strict), param=param) for tool, param in own
    )


def tool_choice(given: ToolChoice | None, offered: Sequence[ToolSpec]) -> Choosing:
    """Which tools may or must be called. Raises BadRequest for a choice that is none, or of a tool that is not offered."""
    match given:
        case None | ToolChoice(type="auto"):
            return Calling.AUTO
        case ToolChoice(type="none"):
            return Calling.NONE
        case ToolChoice(type="any") if offered:
            return Calling.REQUIRED
        case ToolChoice(type="tool", name=str(name)) if any(tool.name == name for tool in offered):
            return CallOf(name)
    message = "tool_choice must be of type auto, none, any or tool, the last with the name of an offered tool"
    raise BadRequest(message, code="invalid_tool_choice", param="tool_choice")


def _turns(message: Message, path: str) -> Iterator[Turn]:
    if message.role == "assistant":
        yield _assistant(message.content, f"{path}.content")
    elif message.role == "user":
        yield from _user(message.content, f"{path}.content")
    elif message.role == "system":
        yield SystemTurn(_text(message.content, f"{path}.content"))
    else:
        text = f"{path} is a {message.role!r} turn; served roles are user, assistant and system"
        raise BadRequest(text, code="unsupported_message", param=f"{path}.role")


def _user(content: str | list[Block], path: str) -> Iterator[Turn]:
    """Results are turns of their own; the texts between them stay together."""
    if isinstance(content, str):
        yield UserTurn(content)
        return
    said: list[str] = []
    for place, block in enumerate(content):
        here = f"{path}[{place}]"
        if block.type != "tool_result":
            said.append(_said(block, here))
            continue
        if said:
            yield UserTurn("\n".join(said))
            said = []
        result = _text(block.content or "", f"{here}.content")
        yield ToolTurn(given(block.tool_use_id, f"{here}.tool_use_id"), f"Error: {result}" if block.is_error else result)
    if said:
        yield UserTurn("\n".join(said))


def _assistant(content: str | list[Block], path: str) -> AssistantTurn:
    if isinstance(content, str):
        return AssistantTurn(content)
    said, thought, calls = list[str](), list[str](), list[ToolCall]()
    for place, block in enumerate(content):
        here = f"{path}[{place}]"
        match block.type:
            case "thinking":
                thought.append(block.thinking or "")
            case "redacted_thinking":
                continue
            case "tool_use":
                name, own = given(block.name, f"{here}.name"), given(block.id, f"{here}.id")
                arguments = json.dumps(block.input or {}, ensure_ascii=False)
                calls.append(past_call(own, name, arguments, f"{here}.input"))
            case _:
                said.append(_said(block, here))
    return AssistantTurn("".join(said), "".join(thought), tuple(calls))


def _text(content: str | list[Block], path: str) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(_said(block, f"{path}[{place}]") for place, block in enumerate(content))


def _said(block: Block, path: str) -> str:
    if block.type != "text":
        message = f"{path} is of type {block.type!r}; only text, tool_use, tool_result and thinking are served"
        raise BadRequest(message, code="unsupported_content", param=f"{path}.type")
    return given(block.text, f"{path}.text")
