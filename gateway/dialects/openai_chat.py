"""OpenAI's chat completions, inward: the bytes of a POST body become one `ChatRequest` or one `BadRequest`.

Clients send open-ended bodies, so unknown fields are ignored; a known field of the wrong type, or one that would change
the answer in a way the engine does not serve yet, is refused with its path. Our own `palimpsest` object is closed:
a misspelt knob must not pass in silence. Null always means "not given".
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from gateway.dialects.openai_answer import AnswerFields, constraint, sampling, stop_strings, top_logprobs
from gateway.dialects.request import ChatMessage, ChatRequest, ComputeKnob, Delivery
from gateway.errors import BadRequest

ROLES: Final = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
SEEDS: Final = 1 << 64
LABEL_MOST: Final = 500
"""Characters of a name that goes on record as it came."""
DAY_MS: Final = 86_400_000
"""Milliseconds of a day, the longest latency that anybody may call a target."""
_PLACE: Final = " - at `$"
_KEY = re.compile(r"`(?P<key>[^`]+)`")


class _Part(msgspec.Struct):
    type: str
    text: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[Any] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Palimpsest(msgspec.Struct, forbid_unknown_fields=True):
    mode: str | None = None
    block_length: int | None = None
    threshold: float | None = None
    max_steps: int | None = None
    seed_first: bool | None = None
    numeric: str | None = None
    regex: str | None = None
    grammar: str | None = None
    workflow: str | None = None
    risk: str | None = None
    latency_target_ms: int | None = None
    proof: bool | None = None


class _Body(AnswerFields):
    model: str
    messages: list[_Message]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    seed: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    palimpsest: _Palimpsest | None = None
    n: int | None = None
    logit_bias: dict[str, float] | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    tool_choice: Any = None
    modalities: list[str] | None = None


class _Verbatim(msgspec.Struct):
    messages: msgspec.Raw


_bodies = msgspec.json.Decoder(_Body)
_verbatim = msgspec.json.Decoder(_Verbatim)


def decode(body: bytes, mode_header: str | None = None) -> ChatRequest:
    """Read one request; `mode_header` is the value of `x-palimpsest-mode`. Raises BadRequest."""
    text = _text_of(body)
    fields = _parse(text)
    _refuse_unserved(fields)
    own = fields.palimpsest or _Palimpsest()
    model, _, suffix = fields.model.partition(":")
    return ChatRequest(
        model=model,
        messages=_messages(fields.messages),
        messages_json=bytes(_verbatim.decode(text).messages).decode(),
        sampling=sampling(fields),
        seed=_seed(fields.seed),
        max_tokens=_max_tokens(fields),
        delivery=_delivery(fields),
        knob=_knob(own, suffix or None, mode_header or None),
        stop=stop_strings(fields),
        top_logprobs=top_logprobs(fields),
        constraint=constraint(fields, own.regex, own.grammar),
        proof=bool(own.proof),
    )


def _text_of(body: bytes) -> str:
    """The body as text; the parser does not look into the fields that it skips, so this comes before it."""
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: {error.reason} at byte {error.start}", code="invalid_json") from error


def _parse(body: str) -> _Body:
    try:
        return _bodies.decode(body)
    except msgspec.ValidationError as error:
        message, path = _placed(str(error))
        named = _KEY.search(message) if " field " in message else None
        param = ".".join(filter(None, (path, named["key"] if named else ""))) or None
        where = f" at {path!r}" if path else ""
        raise BadRequest(f"{message}{where}", code="invalid_type", param=param) from error
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}", code="invalid_json") from error
    except RecursionError as error:
        raise BadRequest("the body is nested too deeply", code="invalid_json") from error


def _placed(error: str) -> tuple[str, str]:
    """What is wrong and where; the place stands last, whatever the client's own words before it look like."""
    message, found, place = error.rpartition(_PLACE)
    return (message, place.removesuffix("`").removeprefix(".")) if found else (error, "")


def _messages(messages: list[_Message]) -> tuple[ChatMessage, ...]:
    if not messages:
        raise BadRequest("messages is empty: send at least one message", code="empty_messages", param="messages")
    return tuple(_message(turn, f"messages[{place}]") for place, turn in enumerate(messages))


def _message(message: _Message, path: str) -> ChatMessage:
    role = ROLES.get(message.role)
    if role is None or message.tool_calls:
        raise BadRequest(
            f"{path} is a {message.role!r} turn or calls tools; served roles are {', '.join(ROLES)}",
            code="unsupported_message",
            param=f"{path}.role" if role is None else f"{path}.tool_calls",
        )
    if message.content is None:
        raise BadRequest(f"{path}.content is missing: give a string", code="invalid_type", param=f"{path}.content")
    if isinstance(message.content, str):
        return ChatMessage(role, message.content)
    texts = [_text(part, f"{path}.content[{place}]") for place, part in enumerate(message.content)]
    return ChatMessage(role, "".join(texts))


def _text(part: _Part, path: str) -> str:
    if part.type != "text":
        raise BadRequest(
            f"{path} is of type {part.type!r}; only text is served", code="unsupported_content", param=f"{path}.type"
        )
    if part.text is None:
        raise BadRequest(f"{path}.text is missing: give a string", code="invalid_type", param=f"{path}.text")
    return part.text


def _seed(asked: int | None) -> int | None:
    """Negative seeds, which OpenAI's schema permits, are read as two's complement; the record shows the effective one."""
    if asked is None:
        return None
    if not -(SEEDS >> 1) <= asked < SEEDS:
        raise BadRequest("seed must fit in 64 bits", code="out_of_range", param="seed")
    return asked % SEEDS


def _max_tokens(fields: _Body) -> int | None:
    old, new = fields.max_tokens, fields.max_completion_tokens
    if old is not None and new is not None and old != new:
        raise BadRequest("max_tokens and max_completion_tokens differ: send one of them", code="conflict", param="max_tokens")
    asked, name = (old, "max_tokens") if new is None else (new, "max_completion_tokens")
    if asked is not None and asked < 1:
        raise BadRequest(f"{name} must be at least 1", code="out_of_range", param=name)
    return asked


def _delivery(fields: _Body) -> Delivery:
    if not fields.stream:
        if fields.stream_options is not None:
            raise BadRequest("stream_options needs stream: true", code="conflict", param="stream_options")
        return Delivery.WHOLE
    usage = fields.stream_options is not None and fields.stream_options.include_usage
    return Delivery.STREAM_WITH_USAGE if usage else Delivery.STREAM


def _knob(given: _Palimpsest, suffix: str | None, header: str | None) -> ComputeKnob:
    chosen = {choice for choice in (suffix, header, given.mode) if choice is not None}
    if len(chosen) > 1:
        raise BadRequest(
            f"model suffix, x-palimpsest-mode and palimpsest.mode ask for different modes: {', '.join(sorted(chosen))}",
            code="conflict",
            param="palimpsest.mode",
        )
    for name in ("block_length", "max_steps"):
        value: int | None = getattr(given, name)
        if value is not None and value < 1:
            raise BadRequest(f"{name} must be at least 1", code="out_of_range", param=f"palimpsest.{name}")
    if given.threshold is not None and not 0.0 <= given.threshold <= 1.0:
        raise BadRequest("threshold must lie in 0..1", code="out_of_range", param="palimpsest.threshold")
    return ComputeKnob(
        mode=next(iter(chosen), None),
        block_length=given.block_length,
        threshold=given.threshold,
        max_steps=given.max_steps,
        seed_first=given.seed_first,
        numeric=given.numeric,
        workflow=_label("workflow", given.workflow),
        risk=_label("risk", given.risk),
        latency_target_ms=_milliseconds(given.latency_target_ms),
    )


def _milliseconds(given: int | None) -> int | None:
    if given is not None and not 0 <= given <= DAY_MS:
        raise BadRequest("latency_target_ms must lie in 0..86400000", code="out_of_range", param="palimpsest.latency_target_ms")
    return given


def _label(name: str, given: str | None) -> str:
    if given is not None and len(given) > LABEL_MOST:
        message = f"{name} may have at most {LABEL_MOST} characters"
        raise BadRequest(message, code="out_of_range", param=f"palimpsest.{name}")
    return given or ""


def _refuse_unserved(fields: _Body) -> None:
    """A parameter that asks for nothing (its neutral value) passes; one that would change the answer is refused."""
    asked = {
        "n": fields.n not in (None, 1),
        "logit_bias": bool(fields.logit_bias),
        "tools": bool(fields.tools),
        "functions": bool(fields.functions),
        "tool_choice": fields.tool_choice not in (None, "none", "auto"),
        "modalities": fields.modalities not in (None, ["text"]),
    }
    for name, wanted in asked.items():
        if wanted:
            raise _unsupported(name, "leave it out or send its neutral value")


def _unsupported(name: str, advice: str) -> BadRequest:
    return BadRequest(f"{name} is not served yet: {advice}", code="unsupported_parameter", param=name)
