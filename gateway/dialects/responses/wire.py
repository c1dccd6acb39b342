"""The body of POST /v1/responses as far as it is read, and as it goes on record; what nobody here knows is passed over.

Encoded again, a body is what the record of its request keeps: enough to tell the response later, and to go on from it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.dialects.knob import Palimpsest

LOGPROBS: Final = "message.output_text.logprobs"
"""What `include` calls them; what else it may name is passed over."""
REFERENCE: Final = "item_reference"
"""The type of an item that stands for one of an earlier response, which has its id."""


class Part(msgspec.Struct, omit_defaults=True):
    """One part of a message's content, of a reasoning item or of a call's output."""

    type: str
    text: str | None = None
    refusal: str | None = None


class Item(msgspec.Struct, omit_defaults=True):
    """One input item; without a type it is a message."""

    type: str = "message"
    role: str | None = None
    content: str | list[Part] | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[Part] | None = None
    summary: list[Part] | None = None


class Tool(msgspec.Struct, omit_defaults=True):
    """A tool; only functions are served, and the rest (web_search, namespace, custom, ...) is passed over."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedChoice(msgspec.Struct, omit_defaults=True):
    """The tool that must be called."""

    type: str
    name: str | None = None


class Format(msgspec.Struct, omit_defaults=True):
    """What the answer must look like."""

    type: str
    name: str | None = None
    schema: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    strict: bool | None = None


class TextConfig(msgspec.Struct, omit_defaults=True):
    """Where this dialect keeps the format."""

    format: Format | None = None
    verbosity: str | None = None


class Reasoning(msgspec.Struct, omit_defaults=True):
    """How much the model thinks first."""

    effort: str | None = None
    summary: str | None = None


class StreamOptions(msgspec.Struct, omit_defaults=True):
    """Nothing of it changes what is served."""

    include_obfuscation: bool | None = None


class Body(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The body of a request."""

    model: str
    input: str | list[Item] = []
    instructions: str | None = None
    previous_response_id: str | None = None
    tools: list[Tool] | None = None
    tool_choice: str | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    include: list[str] | None = None
    seed: int | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    background: bool | None = None
    truncation: str | None = None
    conversation: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    prompt: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    palimpsest: Palimpsest | None = None

    @property
    def stored(self) -> bool:
        """Whether the response may be asked for again; the default is yes."""
        return self.store is not False

    @property
    def scored(self) -> bool:
        """Whether the text comes with the log-probabilities of its tokens."""
        return bool(self.top_logprobs) or LOGPROBS in (self.include or ())
