"""What every dialect decodes to: one chat request, already validated, with nothing of the wire left in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from engine.request import Constraint


class Delivery(StrEnum):
    """How the client wants the answer: as one document or as server-sent events."""

    WHOLE = "whole"
    STREAM = "stream"
    STREAM_WITH_USAGE = "stream_with_usage"


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class ComputeKnob:
    """The `palimpsest` object of a request: the model's run-time compute knob and the facts a policy reads.

    None means "the policy's default". `mode` holds the one choice that suffix, header and body agree on.
    """

    mode: str | None = None
    block_length: int | None = None
    threshold: float | None = None
    max_steps: int | None = None
    seed_first: bool | None = None
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
    """A chat request in the gateway's own words.

    `seed` is in 0..2**64-1 or None for "draw one"; `max_tokens` None means "as many as policy and context permit";
    `messages_json` is the messages array exactly as received, for the record; `top_logprobs` None means no log-probabilities;
    `proof` asks for a tlog-proof of the closing record with the answer.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    messages_json: str
    sampling: AskedSampling
    seed: int | None
    max_tokens: int | None
    delivery: Delivery
    knob: ComputeKnob
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    constraint: Constraint | None = None
    proof: bool = False
