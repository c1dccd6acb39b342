"""Which checkpoint a log is held against when somebody asks how it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.ledger import newest_kept
from tests.audit.shipping_samples import NOTES, line_of

FIRST, SECOND = (line_of(note) for note in NOTES[:2])


@pytest.mark.parametrize(
    ("kept", "newest"),
    [
        (FIRST + SECOND, NOTES[1:2]),
        (FIRST + SECOND[:-9], NOTES[:1]),
        (FIRST + SECOND[:-9] + SECOND, NOTES[:1]),
        (FIRST + SECOND[:-9] + b"\n", NOTES[:1]),
        (FIRST + b'"a note"\n[1]\n\xff\n', NOTES[:1]),
        (b"torn", []),
        (b"", []),
    ],
    ids=["whole", "torn", "swallowed", "ended", "nonsense", "nothing whole", "empty"],
)
def test_a_torn_line_hides_no_checkpoint(tmp_path: Path, kept: bytes, newest: list[str]) -> None:
    """The newest whole note of the file is the one, whatever a crash has left behind it; without one there is none."""
    file = tmp_path / "log.jsonl"
    file.write_bytes(kept)
    assert newest_kept(file) == tuple(newest)


def test_no_file_keeps_no_checkpoint(tmp_path: Path) -> None:
    """A log that never signed has nothing to be held against."""
    assert newest_kept(tmp_path / "log.jsonl") == ()
