"""The part of an OpenAI request that says how the answer is to be picked, where it stops and what it must look like.

Field names and ranges are OpenAI's; `top_k`, `min_p` and `repetition_penalty` are those of other servers of this dialect. A
regex or a Lark grammar comes in our own `palimpsest` object.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from engine.request import LEAST_FACTOR, MAX_STOP_BYTES, MAX_STOP_STRINGS, MAX_TOP_LOGPROBS, Constraint, ConstraintKind
from gateway.dialects.request import AskedSampling
from gateway.errors import BadRequest


class _Schema(msgspec.Struct):
    schema: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class ResponseFormat(msgspec.Struct):
    """What the answer must look like, in OpenAI's words."""

    type: str
    json_schema: _Schema | None = None


class AnswerFields(msgspec.Struct, kw_only=True):
    """The fields of the body that this part reads."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    stop: str | list[str] | None = None


_RANGES: Final[dict[str, tuple[float, float]]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "top_k": (-1, 1 << 31),
    "min_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "repetition_penalty": (LEAST_FACTOR, 10),
}
_ABOVE_LEAST: Final = ("top_p",)


def sampling(fields: AnswerFields) -> AskedSampling:
    """How tokens are picked. Raises BadRequest for a value out of its range."""
    given: dict[str, Any] = {}
    for name, (least, most) in _RANGES.items():
        value: float | None = getattr(fields, name)
        if value is None:
            continue
        if not least <= value <= most or (value == least and name in _ABOVE_LEAST):
            start = "above" if name in _ABOVE_LEAST else "at least"
            raise _out_of_range(name, f"{name} must be {start} {least} and at most {most}")
        given[name] = value
    if given.get("top_k") == -1:  # other servers' word for "off"
        given["top_k"] = 0
    return AskedSampling(**given)


def stop_strings(fields: AnswerFields) -> tuple[str, ...]:
    """Strings that end the answer. Raises BadRequest for one that is empty, too long, or not Unicode, and for too many."""
    asked = () if fields.stop is None else fields.stop
    given = (asked,) if isinstance(asked, str) else tuple(asked)
    if len(given) > MAX_STOP_STRINGS:
        raise _out_of_range("stop", f"stop may hold at most {MAX_STOP_STRINGS} strings")
    for text in given:
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            raise _out_of_range("stop", "stop holds an unpaired surrogate: send valid Unicode") from error
        if not 1 <= size <= MAX_STOP_BYTES:
            raise _out_of_range("stop", f"a stop string must have 1 to {MAX_STOP_BYTES} bytes")
    return given


def top_logprobs(wanted: bool, asked: int | None, name: str = "top_logprobs") -> int | None:
    """How many alternatives are told per token; None when no log-probabilities are asked for. Raises BadRequest.

    `name` is the field that says the number.
    """
    if not wanted:
        if asked:
            raise BadRequest("top_logprobs needs logprobs: true", code="conflict", param="top_logprobs")
        return None
    asked = asked or 0
    if not 0 <= asked <= MAX_TOP_LOGPROBS:
        raise _out_of_range(name, f"{name} must be between 0 and {MAX_TOP_LOGPROBS}")
    return asked


def response_format(asked: ResponseFormat | None) -> Constraint | None:
    """The form that the answer must have. Raises BadRequest for one that is not served."""
    match asked:
        case None | ResponseFormat(type="text"):
            return None
        case ResponseFormat(type="json_object"):
            return Constraint(ConstraintKind.JSON_OBJECT)
        case ResponseFormat(type="json_schema", json_schema=_Schema(schema=msgspec.Raw() as schema)) if (
            bytes(schema) != b"null"
        ):
            return Constraint(ConstraintKind.JSON_SCHEMA, bytes(schema).decode())
        case ResponseFormat(type="json_schema"):
            raise BadRequest(
                "response_format.json_schema.schema is missing: send the schema",
                code="invalid_type",
                param="response_format.json_schema.schema",
            )
        case _:
            raise BadRequest(
                f"response_format {asked.type!r} is not served; send text, json_object or json_schema",
                code="unsupported_parameter",
                param="response_format.type",
            )


def _out_of_range(name: str, message: str) -> BadRequest:
    return BadRequest(message, code="out_of_range", param=name)
