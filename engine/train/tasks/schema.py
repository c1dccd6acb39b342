"""A small JSON schema validator for what the tasks' schemas say, and the reading of printed arguments by their type.

Known keywords: type (one or several), properties, required, additionalProperties (false), items, enum, description. Any other
is an error of the schema's author and raises ValueError: a keyword that is not understood must not count as kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

KNOWN: Final = frozenset({"type", "properties", "required", "additionalProperties", "items", "enum", "description"})
INTEGER: Final = re.compile(r"-?(?:0|[1-9]\d{0,17})")


def closed(properties: Mapping[str, Any], required: Iterable[str]) -> dict[str, Any]:
    """The schema of an object with these properties and no others."""
    return {"type": "object", "properties": dict(properties), "required": list(required), "additionalProperties": False}


def problem(schema: Mapping[str, Any], value: Any, place: str = "answer") -> str | None:
    """The first thing in which the value breaks the schema, as a sentence, or None.

    Raises ValueError for a schema beyond the known keywords.
    """
    if unknown := schema.keys() - KNOWN:
        raise ValueError(f"this validator does not know {', '.join(sorted(unknown))}: keep to {', '.join(sorted(KNOWN))}")
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(kind, value) for kind in kinds):
        return f"{place} is not {' or '.join(kinds)}"
    if "enum" in schema and not any(same(value, choice) for choice in schema["enum"]):
        return f"{place} is none of {json.dumps(schema['enum'])}"
    if isinstance(value, dict):
        return _object_problem(schema, value, place)
    if isinstance(value, list) and "items" in schema:
        found = (problem(schema["items"], item, f"{place}[{index}]") for index, item in enumerate(value))
        return next(filter(None, found), None)
    return None


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values, where 1, 1.0 and true are three different things."""
    return bool(one == other) and json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def typed(schema: Mapping[str, Any], text: str) -> Any:
    """A printed argument as the value that its schema means; text that cannot mean one stays text, and will not validate."""
    kind = schema.get("type")
    if kind == "integer":
        return int(text) if INTEGER.fullmatch(text) else text
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind in {"array", "object", "number", "null"}:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _object_problem(schema: Mapping[str, Any], value: Mapping[str, Any], place: str) -> str | None:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{place} lacks {name}"
    for name, item in value.items():
        if name in properties:
            if found := problem(properties[name], item, f"{place}.{name}"):
                return found
        elif schema.get("additionalProperties") is False:
            return f"{place} has {name}, which the schema does not know"
    return None


def _is(kind: str, value: Any) -> bool:
    match kind:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "null":
            return value is None
    raise ValueError(f"{kind!r} is no type of JSON schema")
