"""Anthropic's messages, inward: the bytes of a body become one `ChatRequest` or one `BadRequest`."""

from __future__ import annotations

import msgspec

from engine.request import MAX_STOP_BYTES, MAX_STOP_STRINGS, Constraint, ConstraintKind
from gateway.dialects.body import parse, text_of
from gateway.dialects.knob import NOTHING_BESIDE, Beside, Palimpsest, held, knob, seed_of, served_model
from gateway.dialects.messages import turns
from gateway.dialects.messages.failures import UNTHREADED
from gateway.dialects.messages.wire import Body, CountBody, Thinking
from gateway.dialects.request import AskedSampling, ChatRequest, ComputeKnob, Conversation, Delivery, Dialect
from gateway.errors import BadRequest

_bodies = msgspec.json.Decoder(Body)
_counts = msgspec.json.Decoder(CountBody)


class _Verbatim(msgspec.Struct, omit_defaults=True):
    system: msgspec.Raw = msgspec.Raw(b"")
    messages: msgspec.Raw = msgspec.Raw(b"")
    tools: msgspec.Raw = msgspec.Raw(b"")


_verbatim = msgspec.json.Decoder(_Verbatim)


def decode(body: bytes, beside: Beside = NOTHING_BESIDE) -> ChatRequest:
    """Read one request. Raises BadRequest."""
    fields = parse(_bodies, text_of(body))
    _refuse_threads(fields)
    own = _budgeted(beside.own(fields.palimpsest), fields.thinking)
    model, suffix = served_model(fields.model)
    if fields.max_tokens < 1:
        raise BadRequest("max_tokens must be at least 1", code="out_of_range", param="max_tokens")
    constraint = held(own, _format(fields), Dialect.MESSAGES.form_field)
    return ChatRequest(
        dialect=Dialect.MESSAGES,
        model=model,
        prompt=_prompt(fields, constrained=constraint is not None),
        prompt_json=msgspec.json.encode(_verbatim.decode(body)).decode(),
        sampling=_sampling(fields),
        seed=seed_of(fields.seed),
        max_tokens=fields.max_tokens,
        delivery=Delivery.STREAM if fields.stream else Delivery.WHOLE,
        knob=knob(own, suffix, beside.mode or None),
        stop=_stops(fields.stop_sequences or []),
        constraint=constraint,
        proof=bool(own.proof),
    )


def _budgeted(own: Palimpsest, thinking: Thinking | None) -> Palimpsest:
    """Our object, with what Anthropic's `thinking` says of `think_budget`. Raises BadRequest where the two differ."""
    budget = thinking.budget_tokens if thinking is not None and thinking.type == "enabled" else None
    if budget is None:
        return own
    if own.think_budget not in (None, budget):
        message = "thinking.budget_tokens and palimpsest.think_budget differ: send one of them"
        raise BadRequest(message, code="conflict", param="thinking.budget_tokens")
    if budget < 0:
        raise BadRequest("budget_tokens must be at least 0", code="out_of_range", param="thinking.budget_tokens")
    return msgspec.structs.replace(own, think_budget=budget)


def counted(body: bytes, beside: Beside = NOTHING_BESIDE) -> ChatRequest:
    """Read one body of count_tokens, as a request that nobody will run. Raises BadRequest."""
    fields = parse(_counts, text_of(body))
    _refuse_threads(fields)
    model, suffix = served_model(fields.model)
    constraint = held(beside.own(fields.palimpsest), _format(fields), Dialect.MESSAGES.form_field)
    return ChatRequest(
        dialect=Dialect.MESSAGES,
        model=model,
        prompt=_prompt(fields, constrained=constraint is not None),
        prompt_json="",
        sampling=AskedSampling(),
        seed=None,
        max_tokens=None,
        delivery=Delivery.WHOLE,
        knob=ComputeKnob(mode=suffix),
    )


def _refuse_threads(fields: CountBody) -> None:
    """Passed over, a turn would be answered, or counted, without all that was said before it. Raises BadRequest."""
    if isinstance(fields.thread, msgspec.Raw) and bytes(fields.thread) != b"null":
        raise BadRequest("threads are not served: send the whole conversation without thread", code=UNTHREADED, param="thread")


def _prompt(fields: CountBody, *, constrained: bool) -> Conversation:
    """What the model would be given; a constrained answer has no room to think."""
    choice, thinking, offered = fields.tool_choice, fields.thinking, turns.tools(fields.tools)
    return Conversation(
        turns.turns(fields.system, fields.messages),
        offered,
        turns.tool_choice(choice, offered),
        parallel=not (choice and choice.disable_parallel_tool_use),
        thinking=thinking is not None and thinking.type == "enabled" and not constrained,
    )


def _sampling(fields: Body) -> AskedSampling:
    """Raises BadRequest for a value out of Anthropic's ranges."""
    given: dict[str, float] = {}
    for name, least, most in (("temperature", 0.0, 1.0), ("top_p", 0.0, 1.0), ("top_k", 0, 1 << 31)):
        value: float | None = getattr(fields, name)
        if value is None:
            continue
        if not least <= value <= most or (name == "top_p" and value == 0):
            raise BadRequest(f"{name} must lie in {least}..{most}", code="out_of_range", param=name)
        given[name] = value
    return AskedSampling(
        temperature=given.get("temperature", 1.0), top_p=given.get("top_p", 1.0), top_k=int(given.get("top_k", 0))
    )


def _stops(given: list[str]) -> tuple[str, ...]:
    if len(given) > MAX_STOP_STRINGS:
        message = f"stop_sequences may hold at most {MAX_STOP_STRINGS} strings"
        raise BadRequest(message, code="out_of_range", param="stop_sequences")
    for place, text in enumerate(given):
        if not 1 <= len(text.encode()) <= MAX_STOP_BYTES:
            message = f"a stop sequence must have 1 to {MAX_STOP_BYTES} bytes"
            raise BadRequest(message, code="out_of_range", param=f"stop_sequences[{place}]")
    return tuple(given)


def _format(fields: CountBody) -> Constraint | None:
    config, older = fields.output_config, fields.output_format
    asked = config.format if config is not None and config.format is not None else older
    if asked is None:
        return None
    if older is not None and older is not asked and older != asked:
        raise BadRequest(
            "output_format and output_config.format differ: send the latter", code="conflict", param="output_format"
        )
    if asked.type != "json_schema" or not isinstance(asked.schema, msgspec.Raw):
        place = "output_format" if asked is older else "output_config.format"
        message = f"{place} {asked.type!r} is not served; send json_schema with a schema"
        raise BadRequest(message, code="unsupported_parameter", param=place)
    return Constraint(ConstraintKind.JSON_SCHEMA, bytes(asked.schema).decode())
