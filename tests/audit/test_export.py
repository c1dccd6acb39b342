"""Laws of export bundles."""

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from audit import bundle
from audit.errors import ExportRefused, InvalidRecord, MalformedData, NoteInvalid
from audit.export import StoredRecord, disclose_nothing, disclose_requests, export
from audit.header import decode_header
from tests.audit.samples import ORIGIN, TENANT, small_log


def test_a_bundle_holds_every_row_as_stored(tmp_path: Path) -> None:
    """Headers and sealed bodies leave the database byte for byte, in order, with all checkpoints."""
    log = small_log(tmp_path / "keys")
    written = log.export(tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out" / bundle.RECORDS).read_text().splitlines()]
    rows = [StoredRecord(bundle.decode_bytes(each["header"], 4096), bundle.decode_bytes(each["body"], 9999)) for each in lines]
    assert rows == log.rows
    notes = (tmp_path / "out" / bundle.CHECKPOINTS).read_text().splitlines()
    assert [json.loads(line)["note"] for line in notes] == log.notes
    assert (written.records, written.checkpoints, written.disclosed, written.unavailable) == (21, 2, 3, 0)


def test_only_what_was_asked_for_is_disclosed(tmp_path: Path) -> None:
    """Naming one request puts its key into the bundle and no other; month keys never leave."""
    log = small_log(tmp_path / "keys")
    request = decode_header(log.rows[0].header).request
    assert request is not None
    log.export(tmp_path / "one", disclose_requests(log.keys, frozenset({request})))
    log.export(tmp_path / "none", disclose_nothing)
    (only,) = (tmp_path / "one" / bundle.DISCLOSURE).read_text().splitlines()
    assert UUID(json.loads(only)["scope"]) == request
    assert (tmp_path / "none" / bundle.DISCLOSURE).read_bytes() == b""
    secrets = [json.loads(path.read_bytes())["secret"] for path in (tmp_path / "keys/months").glob("*.json")]
    everything = b"".join(path.read_bytes() for path in (tmp_path / "one").iterdir()).decode()
    assert not any(secret in everything for secret in secrets)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    """An export never mixes with what is already there."""
    log = small_log(tmp_path / "keys")
    log.export(tmp_path / "out")
    with pytest.raises(ExportRefused, match="not empty"):
        log.export(tmp_path / "out")


def test_names_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    """A tenant or origin that no log can have leaves no folder behind."""
    with pytest.raises(InvalidRecord):
        export(tmp_path / "out", origin=ORIGIN, tenant="../up", records=(), checkpoints=())
    with pytest.raises(NoteInvalid):
        export(tmp_path / "out", origin="two words", tenant=TENANT, records=(), checkpoints=())
    assert not (tmp_path / "out").exists()


def test_an_unfinished_export_has_no_manifest(tmp_path: Path) -> None:
    """If rows stop coming, the folder cannot be mistaken for a bundle."""
    log = small_log(tmp_path / "keys")

    def broken() -> Iterator[StoredRecord]:
        yield log.rows[0]
        raise ConnectionError("the database went away")

    with pytest.raises(ConnectionError):
        export(tmp_path / "out", origin=ORIGIN, tenant=TENANT, records=broken(), checkpoints=log.notes)
    assert not (tmp_path / "out" / bundle.MANIFEST).exists()


def test_memory_does_not_grow_with_bodies(tmp_path: Path) -> None:
    """Exporting sixteen megabytes of bodies takes a small fraction of that in memory."""
    row = small_log(tmp_path / "keys").rows[0]
    rows = (StoredRecord(row.header, bytes(1 << 16)) for _ in range(256))
    tracemalloc.start()
    try:
        export(tmp_path / "out", origin=ORIGIN, tenant=TENANT, records=rows, checkpoints=())
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "line",
    [
        b'{"a":1,"a":1}\n', b'{"a":NaN}\n', b'{"a":1.5}\n', b'{"a": 1}\n', b'{"a":1}', b'{"a":1,"b":2}\n',
        b"[]\n",
        b"{}\n", b'{"a":1e3}\n', b'{"a":-Infinity}\n', b'{"a":"\xc3\xa9"}\n', b'{"a":"\\u0041"}\n', b"\xff\n",
        b'{"a":' + b"9" * 30 + b"}\n", b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"\n",
    ],
)  # fmt: skip
def test_lines_are_parsed_strictly(line: bytes) -> None:
    """Duplicate keys, NaN, floats, other spellings, huge numbers and deep nesting are malformed."""
    with pytest.raises(MalformedData):
        bundle.parse_line(line, frozenset({"a"}))


@pytest.mark.parametrize("text", ["AB==", "A", "AA=A", "AAAA\n", "A A=", "AAAAAAAA", 5, None])
def test_base64_has_one_form(text: str | int | None) -> None:
    """Stray bits, padding, spaces, other types and longer values than allowed are malformed."""
    with pytest.raises(MalformedData):
        bundle.decode_bytes(text, 4)
