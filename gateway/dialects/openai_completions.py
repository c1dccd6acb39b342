"""OpenAI's older completions, inward: a text, or the ids of one, that the model goes on with.

No chat template is used, so a base checkpoint is served here, and here only.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.dialects.body import parse, text_of
from gateway.dialects.knob import NOTHING_BESIDE, Beside, held, knob, seed_of, served_model
from gateway.dialects.openai_answer import sampling, stop_strings, top_logprobs
from gateway.dialects.openai_chat import CommonFields, answers, delivery, most_tokens, refuse_unserved
from gateway.dialects.request import ChatRequest, Dialect, PlainPrompt
from gateway.errors import BadRequest

DEFAULT_TOKENS: Final = 16
"""OpenAI's own limit where a client sets none."""


class Body(CommonFields, kw_only=True):
    prompt: str | list[Any]
    logprobs: int | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None


class _Verbatim(msgspec.Struct):
    prompt: msgspec.Raw


_bodies = msgspec.json.Decoder(Body)
_verbatim = msgspec.json.Decoder(_Verbatim)


def decode(body: bytes, beside: Beside = NOTHING_BESIDE) -> ChatRequest:
    """Read one request. Raises BadRequest."""
    text = text_of(body)
    fields = parse(_bodies, text)
    refuse_unserved(
        echo=bool(fields.echo),
        suffix=bool(fields.suffix),
        best_of=fields.best_of not in (None, 1, fields.n),
        logit_bias=bool(fields.logit_bias),
    )
    own = beside.own(fields.palimpsest)
    model, suffix = served_model(fields.model)
    return ChatRequest(
        dialect=Dialect.COMPLETIONS,
        model=model,
        prompt=PlainPrompt(_content(fields.prompt)),
        prompt_json=bytes(_verbatim.decode(text).prompt).decode(),
        sampling=sampling(fields),
        seed=seed_of(fields.seed),
        max_tokens=DEFAULT_TOKENS if fields.max_tokens is None else most_tokens(fields.max_tokens),
        delivery=delivery(fields),
        knob=knob(own, suffix, beside.mode or None),
        stop=stop_strings(fields),
        top_logprobs=top_logprobs(fields.logprobs is not None, fields.logprobs, "logprobs"),
        constraint=held(own, None, Dialect.COMPLETIONS.form_field),
        proof=bool(own.proof),
        n=answers(fields),
    )


def _content(prompt: str | list[Any]) -> str | tuple[int, ...]:
    """One text, or one list of ids, by itself or as the only one of a list."""
    match prompt:
        case [str() | list() as only]:
            return _content(only)
        case str() if prompt:
            return prompt
        case [int(), *_] if all(type(token) is int for token in prompt):
            return tuple(prompt)
    raise BadRequest("prompt must be one text that is not empty, or one list of token ids", code="invalid_type", param="prompt")
