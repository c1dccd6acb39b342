"""Writes an export bundle: headers, sealed bodies, checkpoints and the request keys of what is disclosed.

Rows come from any iterator and are read once, for the evidence and for every derived format. Memory does not grow with
bodies or records; of each disclosed request a digest of 16 bytes is held. The manifest is written last: a folder without
one is an export that did not finish.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

from audit import bundle, note
from audit.bundle import Measured
from audit.durable import make_folder
from audit.errors import ExportRefused, MalformedData
from audit.export.derivation import Extras
from audit.export.disclosure import Answers, Disclosure, Undisclosed, disclose_nothing
from audit.export.folder import Folder
from audit.export.formats import derivations, require
from audit.export.one_pass import Telling, note_reader, read_checkpoints
from audit.export.opened import open_record
from audit.export.readme import readme
from audit.header import Header, StoredRecord, check_tenant, decode_header, leaf_hash

Progress: TypeAlias = Callable[[int], None]
"""Told how many records are written so far, every PROGRESS_EVERY records and at the end."""
PROGRESS_EVERY = 256
_NO_EXTRAS = Extras()


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. `derived` counts files beside the evidence, policies included."""

    folder: Path
    records: int
    checkpoints: int
    disclosed: int
    unavailable: int
    derived: int = 0
    contradicted: int | None = None
    """Size of the first checkpoint whose root the records do not have; looked for only when something is derived."""


def export(
    out: Path,
    *,
    origin: str,
    tenant: str,
    records: Iterable[StoredRecord],
    checkpoints: Iterable[str],
    disclose: Disclosure = disclose_nothing,
    anchor: bytes | None = None,
    extras: Extras = _NO_EXTRAS,
    progress: Progress | None = None,
) -> Exported:
    """Write the bundle of a whole log, records in order of seq from 0, into the new or empty folder `out`.

    `anchor` is the line of one about this log, if there is one. Nothing is judged here: a log that was tampered with is
    exported as it is, so that the verifier can show it. Raises ExportRefused when the folder is in use or what is wanted
    beside the evidence cannot be made.
    """
    _check(origin, tenant, extras)
    claim(out)
    files = {bundle.CHECKPOINTS: _write_lines(out / bundle.CHECKPOINTS, map(_checkpoint_line, checkpoints))}
    if anchor is not None:
        files[bundle.ANCHOR] = _write_lines(out / bundle.ANCHOR, (anchor,))
    with Folder(out) as folder:
        pass_ = _Pass(out, disclose, progress)
        contradicted = pass_.run(records, extras, folder, origin)
        for digest, policy in sorted(extras.policies.items()):
            folder.write(f"policies/{digest.hex()}.json", policy)
    files |= {bundle.RECORDS: pass_.records, bundle.DISCLOSURE: pass_.disclosure}
    if folder.files:
        files[bundle.DERIVED] = folder.listed
    told = readme(extras, folder.files > 0).encode().splitlines(keepends=True)
    files[bundle.README] = _write_lines(out / bundle.README, told)
    entries = {name: measured.entry() for name, measured in files.items()}
    (out / bundle.MANIFEST).write_bytes(bundle.Manifest(tenant, origin, pass_.records.lines, entries).encode())
    disclosed = pass_.disclosure.lines - pass_.unavailable
    return Exported(
        out, pass_.records.lines, files[bundle.CHECKPOINTS].lines, disclosed, pass_.unavailable, folder.files, contradicted
    )


def claim(out: Path) -> None:
    """Have the new or empty folder, for this account alone: keys of content will lie in it. Raises ExportRefused."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportRefused(f"{out} is not empty; name a new folder")
    try:
        make_folder(out)
        out.chmod(0o700)
    except OSError as error:
        raise ExportRefused(f"{out} cannot be made, or kept from others: {error.strerror}; name a new folder") from error


def _check(origin: str, tenant: str, extras: Extras) -> None:
    check_tenant(tenant)
    note.check_name(origin)
    require(extras)


def _checkpoint_line(note: str) -> bytes:
    return bundle.json_line({"note": note})


def _write_lines(path: Path, lines: Iterable[bytes]) -> Measured:
    measured = Measured()
    with path.open("wb") as file:
        for line in lines:
            _put(file, line, measured)
    return measured


def _put(file: IO[bytes], line: bytes, measured: Measured) -> None:
    file.write(line)
    measured.feed(line)


class _Pass:
    """The one pass over the records: their lines, once per request and key id a disclosure line, and the telling."""

    def __init__(self, out: Path, disclose: Disclosure, progress: Progress | None) -> None:
        self._out, self._answers, self._progress = out, Answers(disclose), progress
        self._seen: set[bytes] = set()
        self.records, self.disclosure, self.unavailable = Measured(), Measured(), 0

    def run(self, records: Iterable[StoredRecord], extras: Extras, folder: Folder, origin: str) -> int | None:
        with ExitStack() as stack:
            lines = stack.enter_context((self._out / bundle.RECORDS).open("wb"))
            keys = stack.enter_context((self._out / bundle.DISCLOSURE).open("wb"))
            told = self._telling(extras, folder, origin, stack)
            for stored in records:
                self._add(stored, lines, keys, told)
                if self._progress is not None and self.records.lines % PROGRESS_EVERY == 0:
                    self._progress(self.records.lines)
            if told is not None:
                told.end()
        if self._progress is not None:
            self._progress(self.records.lines)
        return None if told is None else told.contradicted

    def _telling(self, extras: Extras, folder: Folder, origin: str, stack: ExitStack) -> Telling | None:
        wanted = [stack.enter_context(closing(derivation)) for derivation in derivations(extras, folder, origin)]
        if not wanted:
            return None
        signed = stack.enter_context(closing(read_checkpoints(self._out, note_reader(extras, origin))))
        return Telling(wanted, signed)

    def _add(self, stored: StoredRecord, lines: IO[bytes], keys: IO[bytes], told: Telling | None) -> None:
        body = None if stored.body is None else bundle.encode_bytes(stored.body)
        line = bundle.json_line({"body": body, "header": bundle.encode_bytes(stored.header)})
        _put(lines, line, self.records)
        leaf, header = leaf_hash(stored.header), _header(stored)
        if header is not None:
            self._disclose(header, keys)
        if told is not None:
            told.leaf(leaf, None if header is None else open_record(header, leaf, stored.body, self._answers))

    def _disclose(self, header: Header, keys: IO[bytes]) -> None:
        name = hashlib.blake2b(header.scope.bytes + header.key_id.encode(), digest_size=16).digest()
        if name in self._seen:
            return
        key = self._answers.key(header)
        if key is Undisclosed.NOT_ASKED:
            return
        self._seen.add(name)
        self.unavailable += isinstance(key, Undisclosed)
        shown = None if isinstance(key, Undisclosed) else bundle.encode_bytes(key)
        line = bundle.json_line({"key": shown, "key_id": header.key_id, "scope": str(header.scope)})
        _put(keys, line, self.disclosure)


def _header(stored: StoredRecord) -> Header | None:
    """The header, None if it was damaged in the database: such a record goes out undisclosed, for the verifier to name."""
    try:
        return decode_header(stored.header)
    except MalformedData:
        return None
