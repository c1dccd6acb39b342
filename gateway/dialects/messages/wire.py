"""The body of POST /v1/messages as far as it is read; what nobody here knows is passed over.

Blocks, tools and choices are open lists in this dialect, so each is one tolerant struct and `turns.py` says which are served.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.dialects.knob import Palimpsest


class Block(msgspec.Struct):
    """One content block of a message, of the system prompt or of a tool's result."""

    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: str | list[Block] | None = None
    is_error: bool | None = None


class Message(msgspec.Struct):
    """One turn."""

    role: str
    content: str | list[Block]


class Tool(msgspec.Struct):
    """A tool; those with a `type` of their own run at Anthropic's and are not served."""

    name: str = ""
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoice(msgspec.Struct):
    """Which tools may or must be called."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct):
    """Whether the model thinks first: enabled, disabled or adaptive."""

    type: str
    budget_tokens: int | None = None


class OutputFormat(msgspec.Struct):
    """What the answer must look like."""

    type: str
    schema: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class OutputConfig(msgspec.Struct):
    """Where Anthropic keeps the format of an answer."""

    format: OutputFormat | None = None


class CountBody(msgspec.Struct, kw_only=True):
    """The body of count_tokens: what the model would be given."""

    model: str
    messages: list[Message]
    system: str | list[Block] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    """Where older clients say what `output_config.format` says."""
    thread: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    palimpsest: Palimpsest | None = None


class Body(CountBody, kw_only=True):
    """The body of a request."""

    max_tokens: int
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
