"""A policy document as people read it: its tables as tables, everything else as pairs; and two documents side by side."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

import policies
from gateway.review.marks import visible
from gateway.ui.words import spaced

_CONTEXT: Final = 3
_EMPTY: Final[tuple[Any, ...]] = (None, [], {}, "")


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the document: pairs of dotted keys and values, or columns and rows."""

    name: str
    pairs: tuple[tuple[str, str], ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a difference; `sign` is `+`, `-`, space, or `@` where lines are left out."""

    sign: str
    text: str


def outline(document: policies.Document) -> list[Section]:
    """All of a document that says something."""
    told: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    plain = [
        (name, spelled(value)) for name, value in told.items() if not isinstance(value, list | dict) and value not in _EMPTY
    ]
    sections = [Section("Overview", tuple(plain))]
    for name, value in told.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            sections.append(_table(name, value))
        elif name == "approvals" and value:
            sections.append(_table(name, [{"id": key} | entry for key, entry in value.items()]))
        elif isinstance(value, dict) and value:
            sections.append(Section(name, tuple(_pairs(value))))
        elif isinstance(value, list) and value:
            sections.append(Section(name, ((name, spelled(value)),)))
    return sections


def spelled(value: Any) -> str:
    """A value in few words."""
    match value:
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(f"{spaced(name)} {spelled(each)}" for name, each in value.items() if each not in _EMPTY)
        case list():
            return ", ".join(map(spelled, value))
        case _:
            return visible(str(value))


def difference(old: str, new: str) -> list[Line]:
    """What changed between two stored documents, with a few lines around each change; empty for none."""
    lines = difflib.unified_diff(_lines(old), _lines(new), n=_CONTEXT, lineterm="")
    return [Line(line[:1], line[1:] if line[0] != "@" else "…") for line in lines if not line.startswith(("---", "+++"))]


def pretty(text: str) -> str:
    """A stored document with a line for each value."""
    return "\n".join(_lines(text))


def _lines(text: str) -> list[str]:
    return visible(json.dumps(json.loads(text), indent=2, ensure_ascii=False)).split("\n")


def _table(name: str, entries: Sequence[dict[str, Any]]) -> Section:
    columns = [
        key
        for key in dict.fromkeys(key for entry in entries for key in entry)
        if any(e.get(key) not in _EMPTY for e in entries)
    ]
    rows = tuple(tuple("" if entry.get(key) in _EMPTY else spelled(entry[key]) for key in columns) for entry in entries)
    return Section(name, columns=tuple(columns), rows=rows)


def _pairs(table: Mapping[str, Any], head: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, Mapping) and any(isinstance(each, Mapping) for each in value.values()):
            yield from _pairs(value, f"{head}{name}.")
        elif value not in _EMPTY:
            yield f"{head}{name}", spelled(value)
