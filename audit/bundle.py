"""The files of an export bundle and their one spelling, shared by writer and verifier.

Every text line is canonical JSON (sorted keys, no spaces, ASCII) in which binary values are base64, so a
changed byte either changes a value or is no longer canonical. Parsing is strict: duplicate keys, NaN, other
keys and oversize lines raise MalformedData. Nothing in a bundle is trusted; keys and origin come from the
person who verifies.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NoReturn

from audit.errors import MalformedData
from audit.header import MAX_HEADER_BYTES, MAX_SEALED_BYTES
from audit.note import MAX_NOTE_BYTES

FORMAT = "palimpsest-bundle/1"
MANIFEST = "manifest.json"
RECORDS = "records.jsonl"
CHECKPOINTS = "checkpoints.jsonl"
DISCLOSURE = "disclosure.jsonl"
README = "README.txt"
DATA_FILES = (README, CHECKPOINTS, DISCLOSURE, RECORDS)
DERIVED = "derived.sha256"
"""The list of derived files, in a bundle that has any."""
ANCHOR = "anchor.json"
"""What the log of checkpoints says of this log, in a bundle of one of which it has said something."""

MAX_MANIFEST_BYTES = 65_536
MAX_LINE_BYTES = 4 * (MAX_HEADER_BYTES + MAX_SEALED_BYTES) // 3 + 1024
MAX_NOTE_LINE_BYTES = 2 * MAX_NOTE_BYTES

_ENTRY = {"bytes": int, "lines": int, "sha256": str}
"""What the manifest has of a file. The exact types: true is no 1."""

Json = None | str | int | dict[str, "Json"]


def json_line(value: Mapping[str, object]) -> bytes:
    """One object as one line of ASCII with sorted keys, newline included; raises ValueError for NaN and infinity."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii") + b"\n"


def parse_line(line: bytes, keys: frozenset[str]) -> dict[str, Json]:
    """The object of a canonical line with exactly `keys`; raises MalformedData for anything else."""
    try:
        value = json.loads(
            line,
            object_pairs_hook=_unique,
            parse_constant=_refuse,
            parse_float=_refuse,
            parse_int=_bounded_int,
        )
        if not isinstance(value, dict) or set(value) != keys:
            raise MalformedData(f"expected an object with exactly {', '.join(sorted(keys))}")
        if json_line(value) != line:
            raise MalformedData("the line is not in its one canonical spelling")
    except (ValueError, RecursionError) as error:
        raise MalformedData(f"not strict JSON: {error}") from error
    return value


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("an object repeats a key")
    return entries


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not permitted")


def _bounded_int(text: str) -> int:
    if len(text) > 20:
        raise ValueError("an integer is too long")
    return int(text)


def encode_bytes(data: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(data).decode("ascii")


def decode_bytes(value: Json, limit: int) -> bytes:
    """Bytes of a base64 string in its one form; raises MalformedData also when longer than `limit`."""
    if not isinstance(value, str) or len(value) > 4 * (limit + 2) // 3 + 4:
        raise MalformedData("expected base64 of bounded length")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedData("a value is not base64") from error
    if encode_bytes(data) != value or len(data) > limit:
        raise MalformedData("a value is not in the one base64 form or too long")
    return data


@dataclass(slots=True)
class Measured:
    """A file being written or read: how many bytes and lines, and their SHA-256 so far."""

    size: int = 0
    lines: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def feed(self, line: bytes) -> None:
        """Count one line."""
        self.size += len(line)
        self.lines += 1
        self.digest.update(line)

    def entry(self) -> dict[str, Json]:
        """The manifest's statement about the file."""
        return {"bytes": self.size, "lines": self.lines, "sha256": self.digest.hexdigest()}


def read_lines(file: IO[bytes], limit: int, measured: Measured) -> Iterator[bytes]:
    """Lines of a file, each newline-terminated and at most `limit` bytes; raises MalformedData otherwise."""
    while line := file.readline(limit + 1):
        if len(line) > limit or not line.endswith(b"\n"):
            raise MalformedData(f"line {measured.lines + 1} is longer than {limit} bytes or cut off")
        measured.feed(line)
        yield line


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says it holds; every value is checked against the files."""

    tenant: str
    origin: str
    records: int
    files: dict[str, dict[str, Json]]

    def encode(self) -> bytes:
        """The bytes of manifest.json."""
        files: dict[str, Json] = dict(self.files)
        return json_line(
            {
                "files": files,
                "format": FORMAT,
                "origin": self.origin,
                "records": self.records,
                "tenant": self.tenant,
            }
        )


def open_file(folder: Path, name: str) -> IO[bytes]:
    """A file of the bundle, for reading; raises MalformedData for what is none, such as a pipe that nobody writes to."""
    path = folder / name
    if not path.is_file():
        raise MalformedData(f"{name} is missing, or no file")
    return path.open("rb")


def read_manifest(folder: Path) -> Manifest:
    """Parse manifest.json strictly; raises MalformedData."""
    path = folder / MANIFEST
    if not path.is_file() or path.stat().st_size > MAX_MANIFEST_BYTES:
        raise MalformedData(f"{MANIFEST} is missing or too large; is this a bundle folder?")
    value = parse_line(path.read_bytes(), frozenset({"files", "format", "origin", "records", "tenant"}))
    files, tenant, origin, records = (value[name] for name in ("files", "tenant", "origin", "records"))
    if value["format"] != FORMAT:
        raise MalformedData(f"this verifier reads {FORMAT} only")
    if not isinstance(tenant, str) or not isinstance(origin, str) or type(records) is not int:
        raise MalformedData(f"{MANIFEST} has a value of the wrong type")
    if not isinstance(files, dict) or set(files) - {ANCHOR, DERIVED} != set(DATA_FILES):
        raise MalformedData(f"{MANIFEST} lists other files than a bundle has")
    return Manifest(tenant, origin, records, {name: _entry(name, files[name]) for name in files})


def _entry(name: str, value: Json) -> dict[str, Json]:
    if not isinstance(value, dict) or {key: type(each) for key, each in value.items()} != _ENTRY:
        raise MalformedData(f"{MANIFEST} says nothing usable about {name}")
    return value
