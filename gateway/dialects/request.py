"""What every dialect decodes to: one request, already validated, with nothing of the wire left in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from engine.request import Constraint


class Dialect(StrEnum):
    """How the client speaks, in the words that go on record."""

    CHAT = "openai.chat"
    COMPLETIONS = "openai.completions"
    RESPONSES = "openai.responses"
    MESSAGES = "anthropic.messages"

    @property
    def prompt_field(self) -> str:
        """Where its bodies have the prompt."""
        match self:
            case Dialect.COMPLETIONS:
                return "prompt"
            case Dialect.RESPONSES:
                return "input"
            case _:
                return "messages"

    @property
    def form_field(self) -> str:
        """Where its bodies say what the answer must look like."""
        match self:
            case Dialect.RESPONSES:
                return "text.format"
            case Dialect.MESSAGES:
                return "output_config.format"
            case _:
                return "response_format"


class Delivery(StrEnum):
    """How the client wants the answer: as one document or as server-sent events."""

    WHOLE = "whole"
    STREAM = "stream"
    STREAM_WITH_USAGE = "stream_with_usage"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model made: `arguments` is the JSON text of an object."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class SystemTurn:
    """What the model is told to be."""

    text: str


@dataclass(frozen=True, slots=True)
class UserTurn:
    """What the user says."""

    text: str


@dataclass(frozen=True, slots=True)
class AssistantTurn:
    """What the model said before: its text, what it thought, and the calls it made."""

    text: str
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolTurn:
    """What one call gave; the client's `call_id` says which."""

    call_id: str
    text: str


Turn: TypeAlias = SystemTurn | UserTurn | AssistantTurn | ToolTurn


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A function that may be called. `schema` is the JSON schema of its arguments, an object; `strict`: it must be kept."""

    name: str
    description: str
    schema: Mapping[str, Any]
    strict: bool = False


class Calling(StrEnum):
    """Whether the answer may call tools: never, as the model likes, or it must."""

    NONE = "none"
    AUTO = "auto"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class CallOf:
    """The answer must call this tool."""

    name: str


ToolChoice: TypeAlias = Calling | CallOf


@dataclass(frozen=True, slots=True)
class Conversation:
    """A prompt of turns, rendered by the checkpoint's chat template.

    `parallel`: the answer may make several calls; `thinking`: the model may think first, if its template knows how. An
    answer that is bound from its first token on, by its tools or by a constraint of the request, has no room to think.
    """

    turns: tuple[Turn, ...]
    tools: tuple[ToolSpec, ...] = ()
    choice: ToolChoice = Calling.AUTO
    parallel: bool = True
    thinking: bool = False

    @property
    def callable(self) -> tuple[ToolSpec, ...]:
        """The tools that the answer may call."""
        return () if self.choice is Calling.NONE else self.tools

    @property
    def binding(self) -> bool:
        """Whether the tools bind the answer from its first token on: it must call, or some calls must keep to a schema."""
        must = self.choice is Calling.REQUIRED or isinstance(self.choice, CallOf)
        return bool(self.callable) and (must or any(tool.strict for tool in self.callable))


@dataclass(frozen=True, slots=True)
class PlainPrompt:
    """A prompt that the model simply goes on with: text, or token ids as they are."""

    content: str | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ComputeKnob:
    """The `palimpsest` object of a request: the model's run-time compute knob and the facts a policy reads.

    None means "the policy's default". `mode` holds the one choice that suffix, header and body agree on; `think_budget` is
    the most tokens of a thought, None for as many as the answer may have.
    """

    mode: str | None = None
    block_length: int | None = None
    threshold: float | None = None
    max_steps: int | None = None
    seed_first: bool | None = None
    think_budget: int | None = None
    numeric: str | None = None
    workflow: str = ""
    risk: str = ""
    latency_target_ms: int | None = None


@dataclass(frozen=True, slots=True)
class AskedSampling:
    """How tokens are to be picked, but for the seed; the defaults leave the model's distribution as it is."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request in the gateway's own words.

    `seed` is in 0..2**64-1 or None for "draw one"; `max_tokens` None means "as many as policy and context permit";
    `prompt_json` is the prompt exactly as received, for the record; `top_logprobs` None means no log-probabilities;
    `proof` asks for a tlog-proof of the closing record with the answer; `n` answers are wanted, of which this is the one at
    `index`, the `choice` of its sampling key.
    """

    dialect: Dialect
    model: str
    prompt: Conversation | PlainPrompt
    prompt_json: str
    sampling: AskedSampling
    seed: int | None
    max_tokens: int | None
    delivery: Delivery
    knob: ComputeKnob
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    constraint: Constraint | None = None
    proof: bool = False
    n: int = 1
    index: int = 0

    @property
    def scored(self) -> bool:
        """Whether the client is told of single tokens: what they weigh or, in Responses, how many were thought."""
        return self.top_logprobs is not None or self.dialect is Dialect.RESPONSES

    @property
    def tools(self) -> tuple[ToolSpec, ...]:
        """The tools that are offered, whether they may be called or not."""
        return self.prompt.tools if isinstance(self.prompt, Conversation) else ()
