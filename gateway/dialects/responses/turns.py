"""Input items and tools of the responses dialect in the gateway's own words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from gateway.dialects.body import check_inner, given
from gateway.dialects.openai_messages import past_call, tool_spec
from gateway.dialects.request import (
    AssistantTurn,
    Calling,
    CallOf,
    SystemTurn,
    ToolChoice,
    ToolSpec,
    ToolTurn,
    Turn,
    UserTurn,
)
from gateway.dialects.responses.wire import Item, NamedChoice, Part, Tool
from gateway.errors import BadRequest

_TEXTS: Final = ("input_text", "output_text", "text", "summary_text", "reasoning_text")


def items_of(given: str | Sequence[Item]) -> list[Item]:
    """The input as items; a string is one message of the user."""
    return [Item(role="user", content=given)] if isinstance(given, str) else list(given)


def turns(instructions: str | None, items: Sequence[Item], earlier: int = 0) -> tuple[Turn, ...]:
    """The conversation; its first `earlier` items are not of this input. Raises BadRequest for an empty one and for items
    that are not served.
    """
    if not items:
        raise BadRequest("input is empty: send a text or at least one item", code="empty_messages", param="input")
    check_inner((item.arguments for item in items if item.arguments), "input")
    system: list[Turn] = [SystemTurn(instructions)] if instructions else []
    return tuple(_gathered([*system, *(_turn(item, f"input[{place}]") for place, item in enumerate(items, -earlier))]))


def tools(given: Sequence[Tool] | None) -> tuple[ToolSpec, ...]:
    """The functions among the tools. Raises BadRequest for one whose name cannot be written in a call."""
    return tuple(
        tool_spec(tool.name or "", tool.description, tool.parameters, strict=bool(tool.strict), param=f"tools[{place}].name")
        for place, tool in enumerate(given or ())
        if tool.type == "function"
    )


def tool_choice(given: str | NamedChoice | None, offered: Sequence[ToolSpec]) -> ToolChoice:
    """Which tools may or must be called. Raises BadRequest for a choice that is none, or of a tool that is not offered."""
    match given:
        case None | "auto" | "none":
            return Calling(given or "auto")
        case "required" if offered:
            return Calling.REQUIRED
        case NamedChoice(type="function", name=str(name)) if any(tool.name == name for tool in offered):
            return CallOf(name)
    message = "tool_choice must be auto, none, required or {type: function, name} of an offered tool"
    raise BadRequest(message, code="invalid_tool_choice", param="tool_choice")


def _gathered(turns: Sequence[Turn]) -> Iterator[Turn]:
    """Thought, text and calls of one answer came as items of their own; the model said them in one turn."""
    run: list[AssistantTurn] = []
    for turn in turns:
        told = isinstance(turn, AssistantTurn)
        if run and (not told or (turn.text and any(each.text or each.calls for each in run))):
            yield _joined(run)
            run = []
        if isinstance(turn, AssistantTurn):
            run.append(turn)
        else:
            yield turn
    if run:
        yield _joined(run)


def _joined(run: Sequence[AssistantTurn]) -> AssistantTurn:
    """One turn of several, put together at once: a client may send as many as a body holds."""
    calls = tuple(call for turn in run for call in turn.calls)
    return AssistantTurn("".join(turn.text for turn in run), "".join(turn.reasoning for turn in run), calls)


def _turn(item: Item, path: str) -> Turn:
    match item.type:
        case "message":
            return _message(item, path)
        case "function_call":
            name, call = given(item.name, f"{path}.name"), given(item.call_id, f"{path}.call_id")
            return AssistantTurn("", "", (past_call(call, name, item.arguments or "{}", f"{path}.arguments"),))
        case "function_call_output":
            return ToolTurn(given(item.call_id, f"{path}.call_id"), _text(item.output, f"{path}.output"))
        case "reasoning":
            return AssistantTurn("", _text(item.content or item.summary or "", f"{path}.content"))
        case _:
            served = "message, function_call, function_call_output, reasoning and item_reference"
            message = f"{path} is of type {item.type!r}; served are {served}"
            raise BadRequest(message, code="unsupported_message", param=f"{path}.type")


def _message(item: Item, path: str) -> Turn:
    text = _text(item.content, f"{path}.content")
    match item.role:
        case "user":
            return UserTurn(text)
        case "system" | "developer":
            return SystemTurn(text)
        case "assistant":
            return AssistantTurn(text)
        case _:
            message = f"{path} is a {item.role!r} turn; served roles are user, assistant, system and developer"
            raise BadRequest(message, code="unsupported_message", param=f"{path}.role")


def _text(content: str | Sequence[Part] | None, path: str) -> str:
    if content is None:
        raise BadRequest(f"{path} is missing: give a string", code="invalid_type", param=path)
    if isinstance(content, str):
        return content
    return "".join(_said(part, f"{path}[{place}]") for place, part in enumerate(content))


def _said(part: Part, path: str) -> str:
    if part.type == "refusal":
        return given(part.refusal, f"{path}.refusal")
    if part.type not in _TEXTS:
        message = f"{path} is of type {part.type!r}; only text is served"
        raise BadRequest(message, code="unsupported_content", param=f"{path}.type")
    return given(part.text, f"{path}.text")
