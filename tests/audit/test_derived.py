"""Derived files are no evidence, and yet none of them can be another than the one that was exported."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest

from audit.bundle import DERIVED, README, RECORDS, parse_line
from audit.derived import altered_files
from audit.errors import MalformedData
from audit.verify import Verdict
from tests.audit.export_samples import bundle_of, judged
from tests.audit.samples import small_log

DIGEST = hashlib.sha256(b"").hexdigest()


def test_a_changed_derived_file_makes_the_bundle_malformed(tmp_path: Path) -> None:
    """One byte more in any derived file, or one that is gone, and the verifier names it; other files are told to be there."""
    log, out = small_log(tmp_path / "keys"), tmp_path / "out"
    bundle_of(log, out)
    (out / "notes.txt").write_text("mine")
    report = judged(log, out)
    assert report.verdict is Verdict.VERIFIED
    assert "1 files in the folder that nobody listed, such as 'notes.txt'" in report.unchecked
    assert any("nobody has signed the manifest" in said for said in report.unchecked)
    for line in (out / DERIVED).read_text().splitlines():
        path = out / line.split("  ")[1]
        whole = path.read_bytes()
        path.write_bytes(whole + b"\n")
        assert [finding.message for finding in judged(log, out).findings] == [
            f"the derived file {path.relative_to(out).as_posix()!r} is not the one that is listed"
        ]
        path.unlink()
        assert "is missing" in judged(log, out).findings[0].message
        path.write_bytes(whole)
    (out / DERIVED).write_bytes(b"")
    assert judged(log, out).verdict is Verdict.MALFORMED


@pytest.mark.parametrize(
    "line",
    [
        "", "\n", f"{DIGEST} one\n", f"{DIGEST}  one", f"{DIGEST.upper()}  one\n", f"{DIGEST}  /etc/passwd\n",
        f"{DIGEST}  ../out\n", f"{DIGEST}  a/../../out\n", f"{DIGEST}  a//b\n", f"{DIGEST}  ./a\n", f"{DIGEST}  a\\b\n",
        f"{DIGEST}  a\x00b\n", f"{DIGEST}  \x9b2J\n", f"{DIGEST}  a\x7fb\n", f"{DIGEST}  \n",
    ],
)  # fmt: skip
def test_a_line_has_one_form_and_stays_inside(tmp_path: Path, line: str) -> None:
    """Another spelling, or a path that leads elsewhere, is malformed before any file is opened."""
    with pytest.raises(MalformedData):
        list(altered_files(tmp_path, [line.encode()], set()))
    with pytest.raises(MalformedData):
        list(altered_files(tmp_path, [b"\xff\n"], set()))


def test_a_link_out_of_the_bundle_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link that leaves the folder counts as a file that is missing, and so does a folder."""
    (tmp_path / "secret").write_bytes(b"")
    (tmp_path / "out" / "folder").mkdir(parents=True)
    (tmp_path / "out" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "out" / "loop").symlink_to("loop")
    lines = [f"{DIGEST}  {name}\n".encode() for name in ("link", "folder", "none", "loop")]
    assert len(list(altered_files(tmp_path / "out", lines, set()))) == 4


def test_folders_in_one_another_cost_no_verdict(tmp_path: Path) -> None:
    """However deep somebody has nested them in the bundle, a file at their end is one that nobody listed."""
    log, out = small_log(tmp_path / "keys"), tmp_path / "out"
    bundle_of(log, out)
    outer, inner = out / "a", out / "b"
    outer.mkdir()
    (outer / "file").touch()
    depth = sys.getrecursionlimit() + 200
    for _ in range(depth):
        inner.mkdir()
        outer.rename(inner / "a")
        inner.rename(outer)
    try:
        report = judged(log, out)
    finally:
        for _ in range(depth):  # whoever tidies up after the tests calls itself for every folder too
            (outer / "a").rename(inner)
            outer.rmdir()
            inner.rename(outer)
    assert report.verdict is Verdict.VERIFIED and any("1 files in the folder" in said for said in report.unchecked)


def test_a_pipe_in_place_of_a_file_is_malformed(tmp_path: Path) -> None:
    """The verifier opens nothing but files: what it would wait for without end is missing to it."""
    log, out = small_log(tmp_path / "keys"), tmp_path / "out"
    bundle_of(log, out)
    for path in (out / README, out / RECORDS, out / (out / DERIVED).read_text().split()[1]):
        whole = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        assert judged(log, out).verdict is Verdict.MALFORMED
        path.unlink()
        path.write_bytes(whole)
    assert judged(log, out).verdict is Verdict.VERIFIED


def test_a_line_nested_to_the_edge_is_malformed() -> None:
    """However deep a line nests, reading it or spelling it again is MalformedData and no fault of the verifier."""
    for depth in range(sys.getrecursionlimit() - 200, sys.getrecursionlimit() + 10):
        with pytest.raises(MalformedData):
            parse_line(b'{"body":' + b"[" * depth + b"]" * depth + b',"header":"" }\n', frozenset({"body", "header"}))
