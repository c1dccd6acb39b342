"""What every dialect decodes to: one chat request, already validated, with nothing of the wire left in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
    workflow: str = ""
    risk: str = ""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat request in the gateway's own words.

    `seed` is in 0..2**64-1 or None for "draw one"; `max_tokens` None means "as many as policy and context permit";
    `messages_json` is the messages array exactly as received, for the record.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    messages_json: str
    temperature: float
    seed: int | None
    max_tokens: int | None
    delivery: Delivery
    knob: ComputeKnob
