"""Reading a policy: TOML, its chain of parents, and the digest that names the result.

A child repeats only what it changes, and may only tighten: what a parent refuses no child can grant. Tables
merge, lists and values replace. The digest is the SHA-256 of the resolved document as canonical JSON (sorted
keys, defaults written out), so files that mean the same have the same digest. Only this module does I/O.
"""

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NewType

import msgspec

from policies.document import SCHEMA, Document
from policies.tighten import loosenings

PolicyDigest = NewType("PolicyDigest", bytes)

ROOM: Final = Path(__file__).parent
BASELINE: Final = ROOM / "baseline.toml"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_PATH = re.compile(r" - at `\$(?:\.(?P<path>.+))?`$")


class PolicyError(Exception):
    """A policy that cannot be used: which file, which key (dotted; empty for the whole file), and why."""

    def __init__(self, file: Path, path: str, reason: str) -> None:
        super().__init__(f"{file}: {path}: {reason}" if path else f"{file}: {reason}")
        self.file = file
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Policy:
    """A resolved document and the digest (32 bytes) every decision made under it carries."""

    name: str
    document: Document
    digest: PolicyDigest


def load(path: Path) -> Policy:
    """Read the policy at `path`; a parent `p` is `p.toml` beside it, else the one shipped in this room.

    Raises PolicyError, naming file, key and reason, for anything but a complete, closed, tightening document.
    """
    tables = _resolve(path, ())
    return seal(path.stem, _convert(path, tables))


def seal(name: str, document: Document) -> Policy:
    """Give a document its digest."""
    return Policy(name=name, document=document, digest=digest(document))


def digest(document: Document) -> PolicyDigest:
    """SHA-256 over the canonical JSON of `document`, less the parent's name: its content is already in."""
    resolved = msgspec.structs.replace(document, inherit=None)
    return PolicyDigest(hashlib.sha256(msgspec.json.encode(resolved, order="sorted")).digest())


def _resolve(path: Path, children: tuple[Path, ...]) -> dict[str, Any]:
    """The tables of `path` merged over those of its parents, each layer checked against the one above it."""
    here = path.resolve()
    if here in children:
        raise PolicyError(path, "inherit", "documents inherit from each other; remove one `inherit`")
    own = _read(path)
    parent_name = own.get("inherit")
    if parent_name is None:
        return own
    parent_path = _parent(path, parent_name)
    parent = _resolve(parent_path, (*children, here))
    merged = _merge(parent, own)
    for key, reason in loosenings(_convert(parent_path, parent), _convert(path, merged)):
        raise PolicyError(path, key, f"{reason}; a child may only tighten {parent_path.stem!r}")
    return merged


def _read(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicyError(path, "", f"cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PolicyError(path, "", f"is not TOML ({error})") from error
    if tables.get("schema") != SCHEMA:
        raise PolicyError(path, "schema", f"must be {SCHEMA!r}")
    if "tenant" not in tables:
        raise PolicyError(path, "tenant", "is missing; each document names its tenant itself, '*' for any")
    return tables


def _parent(path: Path, name: object) -> Path:
    # The name is matched before it becomes a path, so a document cannot reach outside the two folders.
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PolicyError(path, "inherit", "must be the name of a policy: small letters, digits, '-' and '_'")
    beside = path.parent / f"{name}.toml"
    if beside.is_file():
        return beside
    shipped = ROOM / f"{name}.toml"
    if shipped.is_file():
        return shipped
    raise PolicyError(path, "inherit", f"no {name}.toml beside this file, nor among the shipped policies")


def _merge(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    merged = dict(parent)
    for key, value in child.items():
        above = merged.get(key)
        merged[key] = _merge(above, value) if isinstance(above, dict) and isinstance(value, dict) else value
    return merged


def _convert(path: Path, tables: dict[str, Any]) -> Document:
    try:
        return msgspec.convert(tables, Document)
    except msgspec.ValidationError as error:
        text = str(error)
        place = _PATH.search(text)
        reason = _PATH.sub("", text)
        raise PolicyError(path, (place["path"] or "") if place else "", reason) from error
