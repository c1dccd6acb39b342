"""OpenAI's responses, inward: a body, its input resolved, becomes one `ChatRequest` or one `BadRequest`."""

from __future__ import annotations

from typing import Final

import msgspec

from engine.request import Constraint, ConstraintKind
from gateway.dialects.body import parse, text_of
from gateway.dialects.knob import NOTHING_BESIDE, Beside, held, knob, seed_of, served_model
from gateway.dialects.openai_answer import top_logprobs
from gateway.dialects.openai_messages import refuse_twins
from gateway.dialects.request import AskedSampling, ChatRequest, Conversation, Delivery, Dialect
from gateway.dialects.responses import turns
from gateway.dialects.responses.wire import Body, Format, Item
from gateway.errors import BadRequest

METADATA_MOST: Final = 16
_bodies = msgspec.json.Decoder(Body)


def read(body: bytes) -> Body:
    """The body as a structure, with its input as items. Raises BadRequest."""
    fields = parse(_bodies, text_of(body))
    _refuse_unserved(fields)
    fields.input = turns.items_of(fields.input)
    return fields


def recorded(text: str) -> Body:
    """The body of an earlier request, from its record."""
    return _bodies.decode(text)


def chat_of(body: Body, earlier: list[Item], beside: Beside = NOTHING_BESIDE) -> ChatRequest:
    """The request that `body` makes after the items of the response it goes on from. Raises BadRequest."""
    whole = msgspec.structs.replace(body, input=[*earlier, *turns.items_of(body.input)])
    own = beside.own(body.palimpsest)
    model, suffix = served_model(body.model)
    constraint = held(own, _format(None if body.text is None else body.text.format), Dialect.RESPONSES.form_field)
    return ChatRequest(
        dialect=Dialect.RESPONSES,
        model=model,
        prompt=prompt_of(whole, constrained=constraint is not None, earlier=len(earlier)),
        prompt_json=msgspec.json.encode(whole).decode(),
        sampling=_sampling(body),
        seed=seed_of(body.seed),
        max_tokens=body.max_output_tokens,
        delivery=Delivery.STREAM if body.stream else Delivery.WHOLE,
        knob=knob(own, suffix, beside.mode or None),
        top_logprobs=top_logprobs(body.scored, body.top_logprobs),
        constraint=constraint,
        proof=bool(own.proof),
    )


def prompt_of(body: Body, *, constrained: bool, earlier: int = 0) -> Conversation:
    """The conversation of a body whose input is whole, `earlier` items of it from before; a constrained answer has no room to
    think. Raises BadRequest.
    """
    offered = turns.tools(body.tools)
    thinking = body.reasoning is not None and body.reasoning.effort not in (None, "none", "minimal")
    return Conversation(
        turns.turns(body.instructions, turns.items_of(body.input), earlier),
        offered,
        turns.tool_choice(body.tool_choice, offered),
        parallel=body.parallel_tool_calls is not False,
        thinking=thinking and not constrained,
    )


def _refuse_unserved(body: Body) -> None:
    """What would change the answer and is not served is refused by name; what contradicts itself too."""
    for name in ("conversation", "prompt"):
        given: msgspec.Raw | msgspec.UnsetType = getattr(body, name)
        if isinstance(given, msgspec.Raw) and bytes(given) != b"null":
            message = f"{name} is not served: send the whole input, or previous_response_id"
            raise BadRequest(message, code="unsupported_parameter", param=name)
    functions = enumerate(body.tools or ())
    refuse_twins((tool.name or "", f"tools[{place}].name") for place, tool in functions if tool.type == "function")
    if body.background and not body.stored:
        message = "background needs store: a response that is not stored cannot be asked for"
        raise BadRequest(message, code="conflict", param="background")
    if len(body.metadata or {}) > METADATA_MOST:
        raise BadRequest(f"metadata may have at most {METADATA_MOST} keys", code="out_of_range", param="metadata")
    if body.max_output_tokens is not None and body.max_output_tokens < 1:
        raise BadRequest("max_output_tokens must be at least 1", code="out_of_range", param="max_output_tokens")


def _sampling(body: Body) -> AskedSampling:
    temperature = 1.0 if body.temperature is None else body.temperature
    top_p = 1.0 if body.top_p is None else body.top_p
    if not 0 <= temperature <= 2:
        raise BadRequest("temperature must lie in 0..2", code="out_of_range", param="temperature")
    if not 0 < top_p <= 1:
        raise BadRequest("top_p must be above 0 and at most 1", code="out_of_range", param="top_p")
    return AskedSampling(temperature=temperature, top_p=top_p)


def _format(asked: Format | None) -> Constraint | None:
    match asked:
        case None | Format(type="text"):
            return None
        case Format(type="json_object"):
            return Constraint(ConstraintKind.JSON_OBJECT)
        case Format(type="json_schema", schema=msgspec.Raw() as schema) if bytes(schema) != b"null":
            return Constraint(ConstraintKind.JSON_SCHEMA, bytes(schema).decode())
        case _:
            message = f"text.format {asked.type!r} is not served as sent; send text, json_object or json_schema with a schema"
            raise BadRequest(message, code="unsupported_parameter", param="text.format")
