"""GET /v1/openapi.json: the dialects, described by the very types that read their bodies.

What the dialects' own documentation says is not said again: of a request stands here what is read, of an answer what it surely
has. An error has the shape of its dialect.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, TypeAlias

import msgspec
from litestar import Response, get

from gateway.dialects import openai_chat, openai_completions
from gateway.dialects.messages import wire as messages
from gateway.dialects.responses import wire as responses

Schema: TypeAlias = dict[str, Any]

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
BODIES: Final = (openai_chat.Body, openai_completions.Body, messages.Body, messages.CountBody, responses.Body)
ERRORS: Final = {
    "400": "malformed, not served, or refused",
    "401": "no key, or an unknown one",
    "404": "no such model, or nothing under this id",
    "409": "refused by the policy",
    "413": "the body is too big",
    "429": "a budget is spent, or no seat is free",
    "503": "the log, the database or the engine is down",
}


def _has(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _is(*values: str) -> Schema:
    return {"enum": list(values)}


TEXT: Final[Schema] = {"type": "string"}
MAYBE: Final[Schema] = {"type": ["string", "null"]}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
ANY: Final[Schema] = {"type": "object"}
REFUSED: Final = _has(error=_has(message=TEXT, type=TEXT, param=MAYBE, code=MAYBE))
THEIRS: Final = _has(type=_is("error"), error=_has(type=TEXT, message=TEXT), request_id=TEXT)
SAID: Final = _list(_has(index=COUNT, message=ANY, finish_reason=TEXT))
TOLD: Final = _list(_has(index=COUNT, text=TEXT, finish_reason=TEXT))
CHAT: Final = _has(id=TEXT, object=_is("chat.completion"), model=TEXT, choices=SAID, usage=ANY, palimpsest=ANY)
COMPLETION: Final = _has(id=TEXT, object=_is("text_completion"), model=TEXT, choices=TOLD, usage=ANY, palimpsest=ANY)
MESSAGE: Final = _has(
    id=TEXT, type=_is("message"), role=_is("assistant"), model=TEXT, content=_list(ANY), stop_reason=TEXT, usage=ANY
)
STATUS: Final = _is("queued", "in_progress", "completed", "incomplete", "failed", "cancelled")
RESPONSE: Final = _has(id=TEXT, object=_is("response"), status=STATUS, model=TEXT, output=_list(ANY), palimpsest=ANY)
MODEL: Final = _has(id=TEXT, object=_is("model"), type=_is("model"), display_name=TEXT, created=COUNT)
MODELS: Final = _has(object=_is("list"), data=_list(MODEL), has_more={"const": False}, first_id=TEXT, last_id=TEXT)


@get("/v1/openapi.json", sync_to_thread=False)
def described() -> Response[bytes]:
    """The document; it holds nothing that is not published with this software, so nobody is asked for a key."""
    return Response(document(), media_type=JSON)


@cache
def document() -> bytes:
    """The OpenAPI 3.1 document as JSON."""
    bodies, components = msgspec.json.schema_components(BODIES, ref_template="#/components/schemas/{name}")
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Palimpsest: the dialects of models", "version": "1"},
            "components": {
                "schemas": components,
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            },
            "security": [{"bearer": []}],
            "paths": _paths(*bodies),
        }
    )


def _paths(chat: Schema, completion: Schema, message: Schema, count: Schema, response: Schema) -> Schema:
    model, own = _parameter("model_id", "path", TEXT), _parameter("response_id", "path", TEXT)
    stream = _parameter("stream", "query", {"type": "boolean"})
    after = _parameter("starting_after", "query", {"type": "integer"})
    return {
        "/v1/models": {"get": _operation(MODELS, REFUSED)},
        "/v1/models/{model_id}": {"get": _operation(MODEL, REFUSED, parameters=[model])},
        "/v1/chat/completions": {"post": _operation(CHAT, REFUSED, chat, streams=True)},
        "/v1/completions": {"post": _operation(COMPLETION, REFUSED, completion, streams=True)},
        "/v1/messages": {"post": _operation(MESSAGE, THEIRS, message, streams=True)},
        "/v1/messages/count_tokens": {"post": _operation(_has(input_tokens=COUNT), THEIRS, count)},
        "/v1/responses": {"post": _operation(RESPONSE, REFUSED, response, streams=True)},
        "/v1/responses/{response_id}": {
            "get": _operation(RESPONSE, REFUSED, streams=True, parameters=[own, stream, after]),
        },
        "/v1/responses/{response_id}/cancel": {"post": _operation(RESPONSE, REFUSED, parameters=[own])},
    }


def _operation(
    told: Schema, error: Schema, asked: Schema | None = None, *, streams: bool = False, parameters: list[Schema] | None = None
) -> Schema:
    content: Schema = {JSON: {"schema": told}} | ({EVENTS: {"schema": TEXT}} if streams else {})
    refusals = {status: {"description": why, "content": {JSON: {"schema": error}}} for status, why in ERRORS.items()}
    body = {} if asked is None else {"requestBody": {"required": True, "content": {JSON: {"schema": asked}}}}
    answers = {"200": {"description": "the answer", "content": content}} | refusals
    return body | {"parameters": parameters or [], "responses": answers}


def _parameter(name: str, place: str, schema: Schema) -> Schema:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}
