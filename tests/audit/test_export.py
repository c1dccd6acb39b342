"""Laws of export bundles."""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from audit import bundle
from audit.errors import ExportRefused, InvalidRecord, MalformedData, NoteInvalid
from audit.export import Format, disclose_nothing, disclose_requests, export
from audit.export.bundling import PROGRESS_EVERY
from audit.header import StoredRecord, decode_header
from audit.verify import Verdict
from tests.audit.export_samples import ALL, bundle_of, judged, long_log
from tests.audit.samples import ORIGIN, TENANT, Log, small_log

PER_RECORD = frozenset({Format.PARQUET, Format.CSV, Format.OCSF, Format.CEF})


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


def test_a_folder_that_was_there_is_kept_from_others(tmp_path: Path) -> None:
    """Keys of content lie in a bundle, so its folder is its owner's alone, also one that was made before and open to all."""
    (tmp_path / "out").mkdir(mode=0o755)
    small_log(tmp_path / "keys").export(tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


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


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """A log of 20,000 records."""
    return long_log(tmp_path_factory.mktemp("long"), requests=1000, runs=15)


@pytest.mark.long
@pytest.mark.parametrize("formats", [PER_RECORD, ALL - PER_RECORD], ids=["records", "generations"])
def test_memory_does_not_grow_with_records(long: Log, tmp_path: Path, formats: frozenset[Format]) -> None:
    """Of 20,000 records the last 15,000 leave less than one object each and no pages, whatever format is written."""
    objects, pages = list[int](), list[int]()

    def watch(_: int) -> None:
        objects.append(sys.getallocatedblocks())
        pages.append(int(Path("/proc/self/statm").read_text().split()[1]))

    assert bundle_of(long, tmp_path / "out", formats, progress=watch).records == 20_000
    quarter = len(objects) // 4
    assert max(objects) - max(objects[:quarter]) < 10_000
    assert (max(pages) - max(pages[:quarter])) * os.sysconf("SC_PAGE_SIZE") < 6 << 20


def test_progress_is_told(tmp_path: Path) -> None:
    """Whoever watches hears how many records are written, now and then and at the end."""
    log, heard = long_log(tmp_path / "keys", requests=30, runs=15), list[int]()
    bundle_of(log, tmp_path / "out", frozenset(), progress=heard.append)
    assert heard == [PROGRESS_EVERY, 2 * PROGRESS_EVERY, 600]


def test_a_bundle_with_every_format_is_verified(tmp_path: Path) -> None:
    """Derived files change neither the evidence nor the verdict."""
    log = small_log(tmp_path / "keys")
    log.export(tmp_path / "bare")
    bundle_of(log, tmp_path / "full")
    report = judged(log, tmp_path / "full")
    assert (report.verdict, report.findings, report.decrypted) == (Verdict.VERIFIED, [], 21)
    for name in (bundle.RECORDS, bundle.CHECKPOINTS, bundle.DISCLOSURE):
        assert (tmp_path / "full" / name).read_bytes() == (tmp_path / "bare" / name).read_bytes()


def sha256(path: Path) -> str:
    """The digest of a file in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_manifest_fixes_every_file(tmp_path: Path) -> None:
    """Manifest to the list to each derived file, every digest is that of the file, and no file is left out."""
    log, out = small_log(tmp_path / "keys"), tmp_path / "out"
    done = bundle_of(log, out, policies={hashlib.sha256(b"{}").digest(): b"{}"})
    manifest = json.loads((out / bundle.MANIFEST).read_bytes())["files"]
    assert {name: sha256(out / name) for name in manifest} == {name: manifest[name]["sha256"] for name in manifest}
    assert set(manifest) == {*bundle.DATA_FILES, bundle.DERIVED}
    listed = {name: digest for digest, name in (line.split("  ") for line in (out / bundle.DERIVED).read_text().splitlines())}
    assert listed == {name: sha256(out / name) for name in listed}
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert there == {*listed, *bundle.DATA_FILES, bundle.DERIVED, bundle.MANIFEST}
    assert len(listed) == done.derived == 12
    folders = {name.partition("/")[0] for name in listed}
    assert folders >= {"reports", "provenance", "attestations", "policies", "records.parquet", "records.cef"}
    checker = shutil.which("sha256sum")
    assert checker and subprocess.run([checker, "--check", "--quiet", bundle.DERIVED], cwd=out, check=False).returncode == 0


def test_the_readme_says_what_is_no_evidence(tmp_path: Path) -> None:
    """README.txt names each derived format, the CSV above all, as no evidence; a bare bundle has none to name."""
    log = small_log(tmp_path / "keys")
    bundle_of(log, tmp_path / "full")
    bundle_of(log, tmp_path / "bare", frozenset({Format.JSONL}))
    full, bare = ((tmp_path / name / bundle.README).read_text() for name in ("full", "bare"))
    _, _, derived = full.partition("Not evidence.")
    assert all(word in derived for word in ("not-evidence.csv", "parquet", "PROV", "in-toto", "OCSF", "CEF", "reports/"))
    assert "Not evidence" not in bare and not (tmp_path / "bare" / bundle.DERIVED).exists()


def test_policies_lie_under_their_digests(tmp_path: Path) -> None:
    """Policy documents are exported as given, under the digests that decisions name, with or without another format."""
    log, documents = small_log(tmp_path / "keys"), {bytes(32): b'{"tenant":"*"}', bytes(range(32)): b"{}"}
    bundle_of(log, tmp_path / "out", frozenset(), policies=documents)
    files = {path.name: path.read_bytes() for path in (tmp_path / "out" / "policies").iterdir()}
    assert files == {f"{digest.hex()}.json": document for digest, document in documents.items()}
    assert "policies/" in (tmp_path / "out" / bundle.README).read_text()


def test_a_failure_leaves_no_bundle_in_any_format(tmp_path: Path) -> None:
    """If rows stop coming while every format is written, all files are closed and there is no manifest."""
    log = small_log(tmp_path / "keys")
    rows = log.rows

    def broken() -> Iterator[StoredRecord]:
        yield from rows[:15]
        raise ConnectionError("the database went away")

    with pytest.raises(ConnectionError):
        bundle_of(log, tmp_path / "out", records=broken())
    assert (tmp_path / "out" / bundle.DERIVED).exists() and not (tmp_path / "out" / bundle.MANIFEST).exists()


def test_a_damaged_header_stops_no_format(tmp_path: Path) -> None:
    """A record whose header cannot be read is in the evidence, for the verifier to name, and in no derived file."""
    log = small_log(tmp_path / "keys")
    log.rows[10] = StoredRecord(b"\xff", log.rows[10].body)
    done = bundle_of(log, tmp_path / "out", ALL)
    assert (done.records, done.contradicted) == (21, 21)
    assert len((tmp_path / "out" / "records.cef").read_text().splitlines()) == 20
    assert judged(log, tmp_path / "out").verdict is Verdict.TAMPERED


def test_without_the_extra_everything_but_parquet_works(tmp_path: Path) -> None:
    """Where pyarrow is not installed, parquet is refused with the extra's name and every other format is written."""
    program = """
import sys
sys.modules["pyarrow"] = None
from pathlib import Path
from audit.errors import ExportRefused
from audit.export import Format
from tests.audit.export_samples import ALL, bundle_of
from tests.audit.samples import small_log
folder = Path(sys.argv[1])
log = small_log(folder / "keys")
try:
    bundle_of(log, folder / "refused")
except ExportRefused as error:
    print(error)
print((folder / "refused").exists(), bundle_of(log, folder / "out", ALL - {Format.PARQUET}).derived)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    refusal, rest = done.stdout.splitlines()
    assert "pip install 'palimpsest[export]'" in refusal
    assert (rest, done.returncode) == ("False 9", 0)


@pytest.mark.parametrize(
    "line",
    [
        b'{"a":1,"a":1}\n', b'{"a":NaN}\n', b'{"a":1.5}\n', b'{"a": 1}\n', b'{"a":1}', b'{"a":1,"b":2}\n',
        b"[]\n",
        b"{}\n", b'{"a":1e3}\n', b'{"a":-Infinity}\n', b'{"a":"\xc3\xa9"}\n', b'{"a":"\\u0041"}\n', b"\xff\n",
        b'{"a":' + b"9" * 30 + b"}\n", b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n",
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
