"""The routes of /v1: what clients of others' APIs send and get, as far as this gateway reads it; more is passed over.

Bodies are described by the very classes that read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gateway.api.openapi.operation import EVENT, EVENTS, JSON, KEY, TEXT, Answer, Operation, Schema, asked, of_header
from gateway.api.openapi.people import FAILURE
from gateway.dialects import openai_chat, openai_completions
from gateway.dialects.knob import KNOB_HEADER, MODE_HEADER
from gateway.dialects.messages import wire as messages
from gateway.dialects.responses import wire as responses

(_CHAT, _COMPLETION, _MESSAGES, _COUNTED, _RESPONDING), COMPONENTS = asked(
    (openai_chat.Body, openai_completions.Body, messages.Body, messages.CountBody, responses.Body)
)
_THINGS: Final = {"type": "array", "items": {"type": "object"}}
_ANSWERED: Final = {
    "type": "object",
    "description": "the generation, its mode, policy and records",
    "additionalProperties": True,
}
_REFUSALS: Final = {
    "400": "the request is malformed, or something that sending it again cannot mend, an answer withheld among it",
    "401": "no valid API key",
    "403": "the policy says no, or does not let the answer go",
    "404": "no such model",
    "409": "the policy says no, or does not let the answer go",
    "413": "the body is too big",
    "429": "too many requests wait or run, or a budget has no room",
    "500": "a fault of the gateway",
    "503": "a part is down: ask again after `retry-after` seconds",
    "4XX": "the policy says no, with a status of its own",
}
_HEADERS: Final = {
    "x-palimpsest-generation": "the generation, under which records and proofs are found",
    "x-palimpsest-mode": "the mode that was granted",
}
_BESIDE: Final = (
    of_header(MODE_HEADER, "the mode, instead of the suffix of the model's id", TEXT),
    of_header(KNOB_HEADER, "the `palimpsest` object as JSON, for clients whose bodies cannot be changed", TEXT),
)
_ANTHROPIC: Final = {
    JSON: {
        "type": "object",
        "required": ["type", "error"],
        "properties": {
            "type": {"const": "error"},
            "error": {"type": "object", "required": ["type", "message"], "properties": {"type": TEXT, "message": TEXT}},
            "request_id": TEXT,
        },
    }
}


def _document(required: Sequence[str], **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": True}


def _answers(document: Schema, failure: Any = FAILURE, *, streams: bool = True) -> dict[str, Answer]:
    content = {JSON: document, EVENTS: EVENT} if streams else {JSON: document}
    return {"200": Answer("the answer", content), **{code: Answer(means, failure) for code, means in _REFUSALS.items()}}


def _asks(path: str, does: str, body: Schema, document: Schema, failure: Any = FAILURE, *, streams: bool = True) -> Operation:
    return Operation("post", path, "generation", does, KEY, _answers(document, failure, streams=streams), _BESIDE, body)


_CHOICES: Final = _document(
    ("id", "object", "created", "model", "choices", "usage"), id=TEXT, object=TEXT, created={"type": "integer"}, model=TEXT,
    choices=_THINGS, usage={"type": "object"}, palimpsest=_ANSWERED,
)  # fmt: skip
_MESSAGE: Final = _document(
    ("id", "type", "role", "model", "content", "stop_reason", "usage"), id=TEXT, type={"const": "message"},
    role={"const": "assistant"}, model=TEXT, content=_THINGS, usage={"type": "object"}, palimpsest=_ANSWERED,
    stop_reason={"type": ["string", "null"]},
)  # fmt: skip
_RESPONSE: Final = _document(
    ("id", "object", "created_at", "status", "model", "output"), id=TEXT, object={"const": "response"},
    created_at={"type": "integer"}, model=TEXT, output=_THINGS, palimpsest=_ANSWERED,
    status={"enum": ["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]},
)  # fmt: skip
_MODEL: Final = _document(
    ("id", "object", "created", "owned_by"), id=TEXT, object={"const": "model"}, created={"type": "integer"}
)
_MODELS: Final = _document(("object", "data"), object={"const": "list"}, data={"type": "array", "items": _MODEL})
_READS: Final = {code: Answer(_REFUSALS[code], FAILURE) for code in ("400", "401", "404", "503")}
_RESUME: Final = (
    {"name": "stream", "in": "query", "required": False, "schema": {"type": "boolean"}, "description": "its events"},
    {"name": "starting_after", "in": "query", "required": False, "schema": {"type": "integer"}, "description": "from which on"},
)

OPERATIONS: Final = (
    _asks("/v1/chat/completions", "Answer a conversation, in OpenAI's chat dialect.", _CHAT, _CHOICES),
    _asks("/v1/completions", "Go on with a text, in OpenAI's oldest dialect.", _COMPLETION, _CHOICES),
    _asks("/v1/messages", "Answer a conversation, in Anthropic's dialect.", _MESSAGES, _MESSAGE, _ANTHROPIC),
    _asks(
        "/v1/messages/count_tokens", "What a request would give the model; nothing is generated.",
        _COUNTED, _document(("input_tokens",), input_tokens={"type": "integer"}),
        _ANTHROPIC, streams=False,
    ),
    _asks("/v1/responses", "Answer a conversation, in OpenAI's responses dialect.", _RESPONDING, _RESPONSE),
    Operation(
        "get", "/v1/responses/{response}", "generation", "A stored response as it stands, told again from its records.", KEY,
        {"200": Answer("it", {JSON: _RESPONSE, EVENTS: EVENT}), **_READS}, _RESUME,
    ),
    Operation(
        "post", "/v1/responses/{response}/cancel", "generation", "Stop the work on a response in the background.", KEY,
        {"200": Answer("as it stands", {JSON: _RESPONSE}), **_READS},
    ),
    Operation(
        "get", "/v1/models", "generation", "All model ids that a key may ask for.", KEY,
        {"200": Answer("they", {JSON: _MODELS}), **_READS},
    ),
    Operation(
        "get", "/v1/models/{model_id}", "generation", "One model id.", KEY, {"200": Answer("it", {JSON: _MODEL}), **_READS},
    ),
    Operation(
        "post", "/v1/embeddings", "generation", "Always a 400: this model answers, it does not embed.", KEY,
        {code: Answer(_REFUSALS[code], FAILURE) for code in ("400", "401", "413", "503")}, (), {"type": "object"}, True,
    ),
)  # fmt: skip
