"""Derived files are no evidence, and yet none of them can be another than the one that was exported."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from audit.bundle import DERIVED
from audit.derived import altered_files
from audit.errors import MalformedData
from audit.verify import Verdict
from tests.audit.export_samples import bundle_of, judged
from tests.audit.samples import small_log

DIGEST = hashlib.sha256(b"").hexdigest()


def test_a_changed_derived_file_makes_the_bundle_malformed(tmp_path: Path) -> None:
    """One byte more in any derived file, or one that is gone, and the verifier names it; what nobody listed is passed over."""
    log, out = small_log(tmp_path / "keys"), tmp_path / "out"
    bundle_of(log, out)
    (out / "notes.txt").write_text("mine")
    assert judged(log, out).verdict is Verdict.VERIFIED
    for line in (out / DERIVED).read_text().splitlines():
        path = out / line.split("  ")[1]
        whole = path.read_bytes()
        path.write_bytes(whole + b"\n")
        assert [finding.message for finding in judged(log, out).findings] == [
            f"the derived file {path.relative_to(out).as_posix()} is not the one that was exported"
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
        f"{DIGEST}  a\x00b\n", f"{DIGEST}  \n",
    ],
)  # fmt: skip
def test_a_line_has_one_form_and_stays_inside(tmp_path: Path, line: str) -> None:
    """Another spelling, or a path that leads elsewhere, is malformed before any file is opened."""
    with pytest.raises(MalformedData):
        list(altered_files(tmp_path, [line.encode()]))
    with pytest.raises(MalformedData):
        list(altered_files(tmp_path, [b"\xff\n"]))


def test_a_link_out_of_the_bundle_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link that leaves the folder counts as a file that is missing, and so does a folder."""
    (tmp_path / "secret").write_bytes(b"")
    (tmp_path / "out" / "folder").mkdir(parents=True)
    (tmp_path / "out" / "link").symlink_to(tmp_path / "secret")
    lines = [f"{DIGEST}  {name}\n".encode() for name in ("link", "folder", "none")]
    assert len(list(altered_files(tmp_path / "out", lines))) == 3
