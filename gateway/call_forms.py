"""The forms in which models write calls, and what stands in them by the tool's own JSON schema.

Everything here is pure and takes hostile text: it is read as a call, not as one, or needs more text, and nothing raises.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

from engine.tokenizer import CALL_END, CALL_START
from gateway.dialects.request import ToolSpec
from gateway.schema_types import leaves_of, type_of, types_of, values_of

FUNCTION: Final = "<function="
FUNCTION_END: Final = "</function>"
PARAMETER: Final = "<parameter="
PARAMETER_END: Final = "</parameter>"
NAME_MOST: Final = 256
_NAMED: Final = re.compile(rf"[^>\n]{{1,{NAME_MOST}}}>")
_BLANKS: Final = re.compile(r"\s*")

Tools: TypeAlias = Mapping[str, ToolSpec]


@dataclass(frozen=True, slots=True)
class Found:
    """A call: its name, JSON text of its arguments, and how many characters it takes."""

    name: str
    arguments: str
    length: int


@dataclass(frozen=True, slots=True)
class NotYet:
    """It may become a call."""


@dataclass(frozen=True, slots=True)
class NoCall:
    """It is text."""


Scanned: TypeAlias = Found | NotYet | NoCall


def scan(text: str, tools: Tools, *, final: bool) -> Scanned:
    """What `text`, which starts with a mark of a call, is the beginning of; `final`: no more will come."""
    start = _after_blanks(text, len(CALL_START) if text.startswith(CALL_START) else 0)
    if text.startswith(FUNCTION, start):
        found = _xml(text, start, tools)
    elif text.startswith("{", start):
        found = _json(text, start, tools, final=final)
    else:
        found = NotYet() if FUNCTION.startswith(text[start:]) else NoCall()
    return NoCall() if final and isinstance(found, NotYet) else found


def _xml(text: str, start: int, tools: Tools) -> Scanned:
    name, place = _name(text, start + len(FUNCTION))
    if name is None or name not in tools:
        return NotYet() if name is None and place else NoCall()
    told: dict[str, str] = {}
    while True:
        place = _after_blanks(text, place)
        if text.startswith((FUNCTION_END, CALL_END), place):
            end = place + (len(FUNCTION_END) if text.startswith(FUNCTION_END, place) else 0)
            return _found(tools[name], told, end)
        if not text.startswith(PARAMETER, place):
            heads = (FUNCTION_END, CALL_END, PARAMETER)
            return NotYet() if any(head.startswith(text[place:]) for head in heads) else NoCall()
        key, begin = _name(text, place + len(PARAMETER))
        if key is None or key in told:
            return NotYet() if key is None and begin else NoCall()
        stop = text.find(PARAMETER_END, begin)
        if stop < 0:
            return NotYet()
        told[key] = text[begin:stop].removeprefix("\n").removesuffix("\n")
        place = stop + len(PARAMETER_END)


def _name(text: str, start: int) -> tuple[str | None, int]:
    """A name and where it ends; None and whether it may still come (as 0 or 1)."""
    named = _NAMED.match(text, start)
    if named:
        return named[0][:-1].strip(), named.end()
    rest = text[start : start + NAME_MOST + 1]
    return None, int(len(rest) <= NAME_MOST and ">" not in rest and "\n" not in rest)


def _json(text: str, start: int, tools: Tools, *, final: bool) -> Scanned:
    """An object that ends at the mark of the call's end, or with the answer.

    A mark within one of its strings ends nothing. What the mark's absence or an unfinished object may still become is not yet
    known: a call that comes in pieces is read as the whole would be.
    """
    if not final and CALL_END not in text[start:]:
        return NotYet()
    try:
        told, end = _OBJECTS.raw_decode(text, start)
    except json.JSONDecodeError as error:
        within = error.msg.startswith("Unterminated string")
        return NotYet() if within or CALL_END not in text[error.pos :] else NoCall()
    except (ValueError, RecursionError):
        return NoCall()
    end = _after_blanks(text, end)
    if not text.startswith(CALL_END, end) and not (final and end == len(text)):
        return NotYet() if CALL_END.startswith(text[end:]) else NoCall()
    name, arguments = told.get("name"), told.get("arguments", told.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = read_json(arguments)
    if not isinstance(name, str) or name not in tools or not isinstance(arguments, dict):
        return NoCall()
    return _found(tools[name], arguments, end)


def _found(tool: ToolSpec, told: Mapping[str, Any], length: int) -> Scanned:
    properties = tool.schema.get("properties")
    schemas = properties if isinstance(properties, Mapping) else {}
    values = {key: _typed(value, _types(value, schemas.get(key), tool.schema)) for key, value in told.items()}
    arguments = write_json(values)
    return NoCall() if arguments is None else Found(tool.name, arguments, length)


def _types(value: Any, schema: Any, root: Mapping[str, Any]) -> frozenset[str]:
    """The types that a printed value may have; it is no string where all strings have names and it is none of them."""
    types = types_of(schema, root)
    if types == {"string"} or "string" not in types:
        return types
    for leaf in leaves_of(schema, root):
        values, own = values_of(leaf), types_of(leaf, root)
        if value in values if values is not None else "string" in own or not own:
            return types
    return types - {"string"}


def _typed(value: Any, types: frozenset[str]) -> Any:
    """A printed value as the schema has it; where a string is permitted it stays one, unless it is a null, object or list."""
    if not isinstance(value, str) or not types:
        return value
    told = read_json(_AS_JSON.get(value.strip(), value))
    kind = type_of(told)
    if "string" in types and kind not in ("null", "object", "array"):
        return value
    if kind in types or (kind == "integer" and "number" in types):
        return told if told is not _NOTHING else value
    if isinstance(told, float) and told.is_integer() and "integer" in types:
        return int(told)
    return value


_AS_JSON: Final = {"True": "true", "False": "false", "None": "null"}
"""The family's template prints single values as Python does."""
_NOTHING: Final = object()


def read_json(text: str) -> Any:
    """The value of a JSON text, `_NOTHING` for any other and for numbers beyond a double."""
    try:
        return _OBJECTS.decode(text)
    except (ValueError, RecursionError):
        return _NOTHING


def write_json(value: Any) -> str | None:
    """JSON text that is also UTF-8, None for what has none."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return text


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("beyond a double")
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


_OBJECTS: Final = json.JSONDecoder(parse_float=_number, parse_constant=_constant)


def _after_blanks(text: str, place: int) -> int:
    found = _BLANKS.match(text, place)
    return found.end() if found else place
