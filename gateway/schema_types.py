"""Which JSON types a schema permits at its top, as far as its plain words say; pure, for hostile schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

VISITS_MOST: Final = 256
"""Schemas that are looked at for one answer: references and alternatives may be many, and go in circles."""
_NAMES: Final = frozenset({"string", "number", "integer", "boolean", "null", "object", "array"})


def types_of(schema: Any, root: Mapping[str, Any]) -> frozenset[str]:
    """The types that `schema`, a part of `root`, permits; empty where it does not say."""
    open_schemas, found = [schema], set[str]()
    for _ in range(VISITS_MOST):
        if not open_schemas:
            break
        told, inner = _said(open_schemas.pop(), root)
        found |= told
        open_schemas += inner
    return frozenset(found)


def _said(schema: Any, root: Mapping[str, Any]) -> tuple[set[str], list[Any]]:
    """The types that one schema names itself, and the schemas that it leaves the word to."""
    if not isinstance(schema, Mapping):
        return set(), []
    if "$ref" in schema:
        return set(), [_referred(schema["$ref"], root)]
    if "type" in schema:
        told = schema["type"]
        return {name for name in (told if isinstance(told, list) else [told]) if isinstance(name, str)} & _NAMES, []
    if isinstance(schema.get("enum"), list):
        return set(map(type_of, schema["enum"])), []
    if "const" in schema:
        return {type_of(schema["const"])}, []
    return set(), next((schema[word] for word in ("anyOf", "oneOf", "allOf") if isinstance(schema.get(word), list)), [])


def leaves_of(schema: Any, root: Mapping[str, Any]) -> tuple[Any, ...]:
    """The schemas behind references and alternatives, of which a value must keep one; one that is open where they go on."""
    open_schemas, found = [schema], list[Any]()
    for _ in range(VISITS_MOST):
        if not open_schemas:
            return tuple(found)
        told = open_schemas.pop()
        inner = _alternatives(told, root)
        if inner is None:
            found.append(told)
        else:
            open_schemas += reversed(inner)
    return ({},)


def values_of(schema: Any) -> list[Any] | None:
    """The values that one schema names; None where it does not name them one by one."""
    if not isinstance(schema, Mapping):
        return None
    if isinstance(schema.get("enum"), list):
        return list(schema["enum"])
    if "const" in schema:
        return [schema["const"]]
    return [None] if schema.get("type") == "null" else None


def _alternatives(schema: Any, root: Mapping[str, Any]) -> list[Any] | None:
    """The schemas that one leaves the word to; None for one that speaks itself. What several say together is not looked at."""
    if not isinstance(schema, Mapping) or values_of(schema) is not None:
        return None
    if "$ref" in schema:
        return [_referred(schema["$ref"], root)]
    if "type" in schema:
        return None
    told = next((schema[word] for word in ("anyOf", "oneOf", "allOf") if isinstance(schema.get(word), list)), None)
    if told is schema.get("allOf") and len(told or ()) > 1:
        return [{}]
    return None if told is None else list(told)


def _referred(reference: Any, root: Mapping[str, Any]) -> Any:
    """What a local reference (`#/$defs/Name`) points at; None for any other."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found: Any = root
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def type_of(value: Any) -> str:
    """The JSON type of a value; empty for what is none."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
    return ""
