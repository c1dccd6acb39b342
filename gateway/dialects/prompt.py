"""From a prompt in the gateway's words to the ids that the model is given; a long one is read beside the event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from engine.errors import InvalidRequest
from engine.model.checkpoint import LoadedModel
from gateway.call_forms import write_json
from gateway.dialects.request import (
    AssistantTurn,
    ChatRequest,
    Conversation,
    PlainPrompt,
    SystemTurn,
    ToolCall,
    ToolSpec,
    ToolTurn,
    Turn,
    UserTurn,
)
from gateway.errors import BadRequest

_ANYTHING: Final[dict[str, Any]] = {}
_NOTHING: Final[dict[str, Any]] = {"not": {}}
"""What `true` and `false` are as schemas, spelt out; servers of tools that are written in Go say them."""
SHORT: Final = 2048
"""Characters of a prompt that is read sooner than another thread could take it up."""
_TURN: Final = 64
"""How many of them a turn counts for beside its text."""


async def read(model: LoadedModel, asked: ChatRequest) -> tuple[int, ...]:
    """Ids of the prompt; the loop does not wait for a long one. Raises what `tokenise` raises."""
    return tokenise(model, asked) if _short(asked.prompt) else await asyncio.to_thread(tokenise, model, asked)


def _short(prompt: Conversation | PlainPrompt) -> bool:
    if isinstance(prompt, PlainPrompt):
        return len(prompt.content) < SHORT
    if prompt.tools or any(isinstance(turn, AssistantTurn) for turn in prompt.turns):
        return False
    return sum(_TURN + len(turn.text) for turn in prompt.turns) < SHORT


def tokenise(model: LoadedModel, asked: ChatRequest) -> tuple[int, ...]:
    """Ids of the prompt. Raises BadRequest for one that this checkpoint cannot take."""
    _check_size(model, asked)
    try:
        if isinstance(asked.prompt, Conversation):
            return tuple(_rendered(model, asked.prompt))
        content = asked.prompt.content
        return tuple(model.tokenizer.encode(content)) if isinstance(content, str) else _known(model, content)
    except InvalidRequest as error:
        raise BadRequest(str(error)) from error


def thinks(model: LoadedModel, prompt: Conversation) -> bool:
    """Whether the answer begins inside of the model's reasoning."""
    return prompt.thinking and not prompt.binding and model.template is not None and model.template.can_think


def _check_size(model: LoadedModel, asked: ChatRequest) -> None:
    """Refuse, before it is read, what cannot fit: reading takes a second for two megabytes."""
    told, context = _characters(asked.prompt), model.config.max_position_embeddings
    if told // model.tokenizer.longest > context:
        raise BadRequest(
            f"the prompt's {told} characters or ids cannot fit into the model's context of {context} tokens: shorten it",
            code="context_length_exceeded",
            param=asked.dialect.prompt_field,
        )


def _characters(prompt: Conversation | PlainPrompt) -> int:
    """Characters of what is said, thought, called and offered, or ids as if each were one."""
    if isinstance(prompt, PlainPrompt):
        return len(prompt.content)
    offered = sum(len(tool.description) + len(write_json(tool.schema) or "") for tool in prompt.callable)
    return offered + sum(_length(turn) for turn in prompt.turns)


def _length(turn: Turn) -> int:
    """Characters of a turn; past thoughts count although a template may leave them out, since until then they are read."""
    if not isinstance(turn, AssistantTurn):
        return len(turn.text)
    called = sum(len(call.name) + len(call.arguments) for call in turn.calls)
    return len(turn.text) + len(turn.reasoning) + called


def _rendered(model: LoadedModel, prompt: Conversation) -> list[int]:
    template = model.template
    if template is None:
        message = "this checkpoint has no chat template: it can only go on with a text, at /v1/completions"
        raise BadRequest(message, code="no_chat_template", param="model")
    if prompt.tools and template.call_form is None:
        message = "this checkpoint's chat template knows no tools: leave them out"
        raise BadRequest(message, code="unsupported_parameter", param="tools")
    tools = [_declared(tool) for tool in prompt.callable]
    return template.render([_message(turn) for turn in prompt.turns], tools, thinks(model, prompt))


def _message(turn: Turn) -> dict[str, Any]:
    """A turn as the family's templates read it; past reasoning goes by itself, so that a template may leave it out."""
    match turn:
        case SystemTurn(text):
            return {"role": "system", "content": text}
        case UserTurn(text):
            return {"role": "user", "content": text}
        case ToolTurn(_, text):
            return {"role": "tool", "content": text}
        case AssistantTurn(text, reasoning, calls):
            told: dict[str, Any] = {"role": "assistant", "content": text}
            if reasoning:
                told["reasoning_content"] = reasoning
            return told | ({"tool_calls": [_called(call) for call in calls]} if calls else {})


def _called(call: ToolCall) -> dict[str, Any]:
    return {"type": "function", "function": {"name": call.name, "arguments": json.loads(call.arguments)}}


def _declared(tool: ToolSpec) -> dict[str, Any]:
    told = {"name": tool.name, "description": tool.description, "parameters": _spelt(tool)}
    return {"type": "function", "function": told}


def _spelt(tool: ToolSpec) -> dict[str, Any]:
    """The schema of a tool's arguments, each of which is an object: templates look for words in it, and `true` has none.

    Null is how servers of tools that are written in Go say that there is nothing. Raises BadRequest for what is no schema.
    """
    properties = tool.schema.get("properties", _ANYTHING)
    if properties is None:
        return {**tool.schema, "properties": {}}
    if not isinstance(properties, Mapping):
        return dict(tool.schema)
    return {**tool.schema, "properties": {key: _argument(tool, key, value) for key, value in properties.items()}}


def _argument(tool: ToolSpec, name: str, schema: Any) -> Mapping[str, Any]:
    """The schema of one argument."""
    match schema:
        case None | True:
            return _ANYTHING
        case False:
            return _NOTHING
        case Mapping():
            return schema
    message = f"tool {tool.name!r}: the schema of argument {name!r} must be an object or a boolean"
    raise BadRequest(message, code="invalid_type", param="tools")


def _known(model: LoadedModel, ids: tuple[int, ...]) -> tuple[int, ...]:
    """Ids that came as numbers may only be those of text: special ones come from the chat format alone."""
    if any(token in model.tokenizer.special or not 0 <= token < model.tokenizer.size for token in ids):
        raise BadRequest("prompt holds an id that stands for no text", code="out_of_range", param="prompt")
    return ids
