"""Writes an export bundle: headers, sealed bodies, checkpoints and the request keys of what is disclosed.

Rows come from any iterator, so memory does not grow with bodies or records; only the set of disclosed
requests is held (some tens of bytes each). The manifest is written last: a folder without one is an export
that did not finish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, TypeAlias
from uuid import UUID

from audit import bundle, note
from audit.bundle import Measured
from audit.errors import ExportRefused, KeyUnavailable, MalformedData
from audit.header import Header, check_tenant, decode_header
from audit.keys import KeyStore, make_folder
from audit.sealing import RequestKey, request_key

README_TEXT = """\
Audit export of one tenant's log. Every line of records.jsonl is one record: its header (the Merkle leaf) and
its sealed body, base64. checkpoints.jsonl holds the signed tree heads, disclosure.jsonl the keys of what is
disclosed.

Verify offline, with the verifier key and origin that you obtained from somewhere else than this folder:

    python -m audit verify THIS_FOLDER --vkey KEY --origin NAME

Exit status: 0 verified, 1 tampered, 2 malformed, 3 valid but incomplete.
The format is described in audit/FORMAT.md.
"""


class Undisclosed(Enum):
    """Why a record's key is not in the bundle: not asked for, or asked for and destroyed."""

    NOT_ASKED = "not asked"
    UNAVAILABLE = "unavailable"


Disclosure: TypeAlias = Callable[[Header], RequestKey | Undisclosed]


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A row as stored: raw header bytes and the sealed body, None when the body is no longer there."""

    header: bytes
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    folder: Path
    records: int
    checkpoints: int
    disclosed: int
    unavailable: int


def disclose_nothing(_: Header) -> RequestKey | Undisclosed:
    """Prove integrity without showing any content."""
    return Undisclosed.NOT_ASKED


def disclose_all(store: KeyStore) -> Disclosure:
    """Show every record whose month key still exists."""

    def disclose(header: Header) -> RequestKey | Undisclosed:
        try:
            return request_key(store.find(header.key_id).secret, header.scope)
        except KeyUnavailable:
            return Undisclosed.UNAVAILABLE

    return disclose


def disclose_requests(store: KeyStore, requests: frozenset[UUID]) -> Disclosure:
    """Show the given requests (or single records outside a request) and nothing else."""
    everything = disclose_all(store)
    return lambda header: everything(header) if header.scope in requests else Undisclosed.NOT_ASKED


def export(
    out: Path,
    *,
    origin: str,
    tenant: str,
    records: Iterable[StoredRecord],
    checkpoints: Iterable[str],
    disclose: Disclosure = disclose_nothing,
) -> Exported:
    """Write the bundle of a whole log, records in order of seq from 0, into the new or empty folder `out`.

    Nothing is judged here: a log that was tampered with is exported as it is, so that the verifier can show
    it. Raises ExportRefused when the folder is in use or a row is not a header at all.
    """
    check_tenant(tenant)
    note.check_name(origin)
    make_folder(out)
    if any(out.iterdir()):
        raise ExportRefused(f"{out} is not empty; name a new folder")
    files = {bundle.README: _write_readme(out)}
    files[bundle.CHECKPOINTS] = _write_checkpoints(out, checkpoints)
    with (out / bundle.RECORDS).open("wb") as lines, (out / bundle.DISCLOSURE).open("wb") as keys:
        writer = _Writer(lines, keys, disclose)
        for stored in records:
            writer.add(stored)
    files |= {bundle.RECORDS: writer.records, bundle.DISCLOSURE: writer.disclosure}
    entries = {name: measured.entry() for name, measured in files.items()}
    (out / bundle.MANIFEST).write_bytes(bundle.Manifest(tenant, origin, writer.records.lines, entries).encode())
    unavailable = writer.unavailable
    disclosed = writer.disclosure.lines - unavailable
    return Exported(out, writer.records.lines, files[bundle.CHECKPOINTS].lines, disclosed, unavailable)


def _write_readme(out: Path) -> Measured:
    measured = Measured()
    with (out / bundle.README).open("wb") as file:
        for line in README_TEXT.encode().splitlines(keepends=True):
            _put(file, line, measured)
    return measured


def _write_checkpoints(out: Path, checkpoints: Iterable[str]) -> Measured:
    measured = Measured()
    with (out / bundle.CHECKPOINTS).open("wb") as file:
        for text in checkpoints:
            _put(file, bundle.canonical({"note": text}), measured)
    return measured


def _put(file: IO[bytes], line: bytes, measured: Measured) -> None:
    file.write(line)
    measured.feed(line)


class _Writer:
    """Writes record lines and, once per request and key id, its disclosure line."""

    def __init__(self, lines: IO[bytes], keys: IO[bytes], disclose: Disclosure) -> None:
        self._lines, self._keys, self._disclose = lines, keys, disclose
        self._seen: set[tuple[UUID, str]] = set()
        self.records, self.disclosure, self.unavailable = Measured(), Measured(), 0

    def add(self, stored: StoredRecord) -> None:
        body = None if stored.body is None else bundle.encode_bytes(stored.body)
        line = bundle.canonical({"body": body, "header": bundle.encode_bytes(stored.header)})
        _put(self._lines, line, self.records)
        try:
            header = decode_header(stored.header)
        except MalformedData:
            # A header that was damaged in the database still goes out, undisclosed: the verifier names it.
            return
        self._add_key(header)

    def _add_key(self, header: Header) -> None:
        name = (header.scope, header.key_id)
        if name in self._seen:
            return
        key = self._disclose(header)
        if key is Undisclosed.NOT_ASKED:
            return
        self._seen.add(name)
        self.unavailable += isinstance(key, Undisclosed)
        shown = None if isinstance(key, Undisclosed) else bundle.encode_bytes(key)
        line = bundle.canonical({"key": shown, "key_id": header.key_id, "scope": str(header.scope)})
        _put(self._keys, line, self.disclosure)
