"""OpenAI's chat completions, inward: the bytes of a POST body become one `ChatRequest` or one `BadRequest`.

Clients send open-ended bodies, so unknown fields are ignored; a known field of the wrong type, or one that would change
the answer in a way that is not served, is refused with its path. Null always means "not given".
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.dialects.body import parse, text_of
from gateway.dialects.knob import NOTHING_BESIDE, Beside, Palimpsest, held, knob, seed_of, served_model
from gateway.dialects.openai_answer import AnswerFields, ResponseFormat, response_format, sampling, stop_strings, top_logprobs
from gateway.dialects.openai_messages import Message, Tool, refuse_functions, tool_choice, tools, turns
from gateway.dialects.request import ChatRequest, Conversation, Delivery, Dialect
from gateway.errors import BadRequest

ANSWERS_MOST: Final = 8
"""Answers to one request: each is a generation of its own."""


class StreamOptions(msgspec.Struct):
    """What a stream is to hold besides the answer."""

    include_usage: bool | None = None


class CommonFields(AnswerFields, kw_only=True):
    """What both of OpenAI's older dialects have beside the prompt and the look of the answer."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    seed: int | None = None
    max_tokens: int | None = None
    palimpsest: Palimpsest | None = None
    n: int | None = None
    logit_bias: dict[str, float] | None = None


class _TemplateSwitches(msgspec.Struct):
    enable_thinking: bool | None = None


class Body(CommonFields, kw_only=True):
    messages: list[Message]
    max_completion_tokens: int | None = None
    tools: list[Tool] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: _TemplateSwitches | None = None
    functions: list[Any] | None = None
    function_call: Any = None
    modalities: list[str] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: ResponseFormat | None = None


class _Verbatim(msgspec.Struct):
    messages: msgspec.Raw


_bodies = msgspec.json.Decoder(Body)
_verbatim = msgspec.json.Decoder(_Verbatim)


def decode(body: bytes, beside: Beside = NOTHING_BESIDE) -> ChatRequest:
    """Read one request. Raises BadRequest."""
    text = text_of(body)
    fields = parse(_bodies, text)
    refuse_unserved(logit_bias=bool(fields.logit_bias), modalities=fields.modalities not in (None, ["text"]))
    if fields.functions or fields.function_call not in (None, "none", "auto"):
        refuse_functions("functions" if fields.functions else "function_call")
    own = beside.own(fields.palimpsest)
    model, suffix = served_model(fields.model)
    constraint = held(own, response_format(fields.response_format), Dialect.CHAT.form_field)
    return ChatRequest(
        dialect=Dialect.CHAT,
        model=model,
        prompt=_conversation(fields, constrained=constraint is not None),
        prompt_json=bytes(_verbatim.decode(text).messages).decode(),
        sampling=sampling(fields),
        seed=seed_of(fields.seed),
        max_tokens=_max_tokens(fields),
        delivery=delivery(fields),
        knob=knob(own, suffix, beside.mode or None),
        stop=stop_strings(fields),
        top_logprobs=top_logprobs(bool(fields.logprobs), fields.top_logprobs),
        constraint=constraint,
        proof=bool(own.proof),
        n=answers(fields),
    )


def _conversation(fields: Body, *, constrained: bool) -> Conversation:
    offered = tools(fields.tools or [])
    switches = fields.chat_template_kwargs or _TemplateSwitches()
    effort = fields.reasoning_effort not in (None, "none", "minimal")
    thinking = effort if switches.enable_thinking is None else switches.enable_thinking
    return Conversation(
        turns=turns(fields.messages),
        tools=offered,
        choice=tool_choice(fields.tool_choice, offered),
        parallel=fields.parallel_tool_calls is not False,
        thinking=thinking and not constrained,
    )


def answers(fields: CommonFields) -> int:
    """How many answers are wanted. Raises BadRequest."""
    count = 1 if fields.n is None else fields.n
    if not 1 <= count <= ANSWERS_MOST:
        raise BadRequest(f"n must be between 1 and {ANSWERS_MOST}", code="out_of_range", param="n")
    return count


def delivery(fields: CommonFields) -> Delivery:
    """How the answer is to come. Raises BadRequest for options of a stream that was not asked for."""
    if not fields.stream:
        if fields.stream_options is not None:
            raise BadRequest("stream_options needs stream: true", code="conflict", param="stream_options")
        return Delivery.WHOLE
    usage = fields.stream_options is not None and fields.stream_options.include_usage
    return Delivery.STREAM_WITH_USAGE if usage else Delivery.STREAM


def most_tokens(asked: int | None, name: str = "max_tokens") -> int | None:
    """The client's own limit. Raises BadRequest."""
    if asked is not None and asked < 1:
        raise BadRequest(f"{name} must be at least 1", code="out_of_range", param=name)
    return asked


def _max_tokens(fields: Body) -> int | None:
    old, new = fields.max_tokens, fields.max_completion_tokens
    if old is not None and new is not None and old != new:
        raise BadRequest("max_tokens and max_completion_tokens differ: send one of them", code="conflict", param="max_tokens")
    return most_tokens(old) if new is None else most_tokens(new, "max_completion_tokens")


def refuse_unserved(**asked: bool) -> None:
    """A parameter that asks for nothing (its neutral value) passes; one that would change the answer is refused."""
    for name, wanted in asked.items():
        if wanted:
            advice = "leave it out or send its neutral value"
            raise BadRequest(f"{name} is not served: {advice}", code="unsupported_parameter", param=name)
