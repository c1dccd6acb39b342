"""Tables to a document: all that does not fit its form, at once and in words, where the decoder tells one fault at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec
from msgspec.structs import fields

from policies.document import Document
from policies.places import named

MISFITS_MOST: Final = 50
_PATH: Final = re.compile(r" - at `(?:key` in `)?\$(?P<path>.*)`$")
_ENUM: Final = re.compile(r"Invalid enum value (?P<value>.+)")


@dataclass(frozen=True, slots=True)
class Misfit:
    """A fault of form: the dotted key of the table or value, the one at which it is written, and why."""

    path: str
    written: str
    reason: str


def fitted(tables: dict[str, Any]) -> Document | list[Misfit]:
    """The document that the tables are, or what does not fit, from the first key of its form to the last."""
    try:
        return msgspec.convert(tables, Document)
    except msgspec.ValidationError:
        found = islice(_misfits(tables, Document, ""), MISFITS_MOST)
        return [replace(each, path=named(each.path, tables), written=named(each.written, tables)) for each in found]


def _misfits(value: Any, kind: Any, path: str) -> Iterator[Misfit]:
    """What is wrong with the parts of a value, or with it itself where that is none of theirs."""
    kind = _bare(kind)
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        parts = [each for part in _parts(value, kind, path) for each in _misfits(*part)]
        yield from [*parts, *_unknown(value, kind, path)] or [_of_itself(str(error), kind, path)]


def _bare(kind: Any) -> Any:
    """The type without `| None`."""
    if get_origin(kind) in (Union, UnionType):
        rest = [each for each in get_args(kind) if each is not NoneType]
        return rest[0] if len(rest) == 1 else kind
    return kind


def _parts(value: Any, kind: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    """The values that stand in a table or list, each with its type and path."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    inner = next(iter(get_args(kind)), None)
    if _is_struct(kind) and isinstance(value, dict):
        yield from ((value[each.encode_name], each.type, f"{path}.{each.encode_name}".lstrip("."))
                    for each in fields(kind) if each.encode_name in value)  # fmt: skip
    elif get_origin(kind) is dict and isinstance(value, dict):
        yield from ((each, get_args(kind)[1], f"{path}.{name}") for name, each in value.items())
    elif get_origin(kind) in (tuple, list, set, frozenset) and isinstance(value, list):
        yield from ((each, inner, f"{path}[{at}]") for at, each in enumerate(value))


def _unknown(value: Any, kind: Any, path: str) -> Iterator[Misfit]:
    if _is_struct(kind) and isinstance(value, dict) and kind.__struct_config__.forbid_unknown_fields:
        for key in sorted(value.keys() - {each.encode_name for each in fields(kind)}):
            yield Misfit(path, f"{path}.{key}".lstrip("."), f"Object contains unknown field `{key}`")


def _of_itself(text: str, kind: Any, path: str) -> Misfit:
    place, reason = _PATH.search(text), _PATH.sub("", text)
    value = _ENUM.fullmatch(reason)
    if value and isinstance(kind, type) and issubclass(kind, Enum):
        word = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()
        reason = f"no {word} {value['value']}; known: {', '.join(each.value for each in kind)}"
    where = (path + (place["path"] if place and "[...]" not in place["path"] else "")).lstrip(".")
    return Misfit(where, where, reason)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
