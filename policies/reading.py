"""Reading a document and its chain of parents. Only this module does I/O.

A child repeats only what it changes, and may only tighten: what a parent refuses no child can grant, save at the keys that the
parent lists as `overridable`. Tables merge, lists and values replace; the entries of `gates`, `rules`, `routes` and `budgets`
merge by their `id`, those of the parent first, so a child can add to them and cannot drop any.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from policies.document import SCHEMA, Document
from policies.errors import Finding, PolicyError
from policies.fitting import fitted
from policies.places import Lines, line_of, lines_of
from policies.tighten import loosenings

ROOM: Final = Path(__file__).parent
BASELINE: Final = ROOM / "baseline.toml"
BYTES_MOST: Final = 1 << 20
PARENTS_MOST: Final = 8
BY_ID: Final = ("gates", "rules", "routes", "budgets")

# Of a dotted key, of which there may be half a million parts in a file, every leading part is a table of its own.
_DEEP = re.compile(r"""(?<![\w-])(?:(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}""")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Layer:
    """One file of a chain, as it is written."""

    file: Path
    tables: dict[str, Any]
    lines: Lines

    def line(self, path: str) -> int | None:
        """The line of a dotted key, exactly."""
        return self.lines.get(path)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A document with its parents merged in: `layers` from the file that was asked for to its first ancestor."""

    layers: tuple[Layer, ...]
    tables: dict[str, Any]
    document: Document
    loosened: tuple[Finding, ...]

    @property
    def own(self) -> frozenset[str]:
        """The entries with an id that the last document itself writes, by path."""
        tables = self.layers[0].tables
        return frozenset(f"{key}.{entry['id']}" for key in BY_ID for entry in tables.get(key, ()))

    def finding(self, path: str, reason: str) -> Finding:
        """A fault at a dotted key, placed where the key is written."""
        return _placed(self.layers, path, reason)


def resolve(path: Path) -> Resolved:
    """Read the document at `path` and its parents; a parent `p` is `p.toml` beside it, else the one shipped in this room.

    Raises PolicyError, naming file, line, key and reason, for anything but complete and closed documents.
    """
    return _resolve(path, ())


def _resolve(path: Path, children: tuple[Path, ...]) -> Resolved:
    here = path.resolve()
    if here in children:
        raise PolicyError(path, "inherit", "documents inherit from each other; remove one `inherit`")
    if len(children) > PARENTS_MOST:
        raise PolicyError(path, "inherit", f"has more than {PARENTS_MOST} documents below it; inherit from one nearer the top")
    layer = _read(path)
    inherited = layer.tables.get("inherit")
    if inherited is None:
        return Resolved((layer,), layer.tables, _convert((layer,), layer.tables), ())
    parent = _resolve(_parent(layer, inherited), (*children, here))
    layers = (layer, *parent.layers)
    tables = _merge_documents(parent.tables, layer.tables)
    document = _convert(layers, tables)
    loosened = [
        _placed(layers, key, f"{reason}; a child may only tighten {parent.layers[0].file.stem!r}")
        for key, reason in loosenings(parent.document, document)
    ]
    return Resolved(layers, tables, document, (*parent.loosened, *loosened))


def _read(path: Path) -> Layer:
    try:
        with path.open("rb") as file:
            raw = file.read(BYTES_MOST + 1)
        if len(raw) > BYTES_MOST:
            raise PolicyError(path, "", f"is longer than {BYTES_MOST} bytes")
        text = raw.decode("utf-8").replace("\r\n", "\n")
        if deep := _DEEP.search(text):
            raise PolicyError(path, "", "is nested too deeply", text.count("\n", 0, deep.start()) + 1)
        tables = tomllib.loads(text)
        lines = lines_of(text, tables)
    except OSError as error:
        raise PolicyError(path, "", f"cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise PolicyError(path, "", "is nested too deeply") from error
    except ValueError as error:  # not UTF-8, not TOML, or a number beyond all bounds
        raise PolicyError(path, "", f"is not TOML ({error})", _toml_line(str(error))) from error
    layer = Layer(path, tables, lines)
    _require_head(layer)
    return layer


def _toml_line(message: str) -> int | None:
    found = re.search(r"at line (\d+)", message)
    return int(found[1]) if found else None


def _require_head(layer: Layer) -> None:
    if layer.tables.get("schema") != SCHEMA:
        raise PolicyError(layer.file, "schema", f"must be {SCHEMA!r}", layer.line("schema"))
    if "tenant" not in layer.tables:
        raise PolicyError(layer.file, "tenant", "is missing; each document names its tenant itself, '*' for any")
    for key in BY_ID:
        seen: set[str] = set()
        for entry in _entries(layer, key):
            if entry["id"] in seen:
                raise PolicyError(layer.file, f"{key}.{entry['id']}", "is named twice", layer.line(f"{key}.{entry['id']}"))
            seen.add(entry["id"])


def _entries(layer: Layer, key: str) -> list[dict[str, Any]]:
    """The entries of a list that merges by id; each must be a table with one."""
    entries = layer.tables.get(key, [])
    line = layer.line(key)
    if not isinstance(entries, list):
        raise PolicyError(layer.file, key, f"must be a list of tables: write [[{key}]]", line)
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            raise PolicyError(
                layer.file, f"{key}[{index}]", "must be a table with an `id`", layer.line(f"{key}[{index}]") or line
            )
    return entries


def _parent(layer: Layer, name: object) -> Path:
    # The name is matched before it becomes a path, so a document cannot reach outside the two folders.
    path, line = layer.file, layer.line("inherit")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PolicyError(path, "inherit", "must be the name of a policy: small letters, digits, '-' and '_'", line)
    for folder in (path.parent, ROOM):
        found = folder / f"{name}.toml"
        if found.is_file():
            return found
    raise PolicyError(path, "inherit", f"no {name}.toml beside this file, nor among the shipped policies", line)


def _merge_documents(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    merged = _merge(parent, child)
    for key in BY_ID:
        if key in parent and key in child:
            merged[key] = _merge_entries(parent[key], child[key])
    return merged


def _merge(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(parent)
    for key, value in child.items():
        above = merged.get(key)
        merged[key] = _merge(above, value) if isinstance(above, dict) and isinstance(value, dict) else value
    return merged


def _merge_entries(parent: list[dict[str, Any]], child: list[dict[str, Any]]) -> list[dict[str, Any]]:
    merged = {entry["id"]: entry for entry in parent}
    for entry in child:
        merged[entry["id"]] = _merge(merged.get(entry["id"], {}), entry)
    return list(merged.values())


def _convert(layers: tuple[Layer, ...], tables: dict[str, Any]) -> Document:
    found = fitted(tables)
    if isinstance(found, Document):
        return found
    first, *others = [replace(_placed(layers, each.written, each.reason), path=each.path) for each in found]
    raise PolicyError(first.file, first.path, first.reason, first.line, tuple(others))


def _placed(layers: tuple[Layer, ...], path: str, reason: str) -> Finding:
    """At the file that writes the key itself, the youngest first; else at the youngest that writes a table around it."""
    for layer in layers:
        if path in layer.lines:
            return Finding(layer.file, layer.lines[path], path, reason)
    for layer in layers:
        line = line_of(layer.lines, path)
        if line is not None:
            return Finding(layer.file, line, path, reason)
    return Finding(layers[0].file, None, path, reason)
