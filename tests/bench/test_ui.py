"""The bench of pages asks what there is, and is answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import ui


@pytest.mark.long
@pytest.mark.timeout(300)
def test_every_address_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over 20,000 requests of the real writer, each address that can be asked answers, and the figures are in the file."""
    file = tmp_path / "ui.json"
    sizes = ["--generations", "20000", "--approvals", "1000", "--repeats", "1", "--limit-ms", "30000"]
    monkeypatch.setattr("sys.argv", ["ui", *sizes, "--json", str(file)])
    ui.main()
    told = json.loads(file.read_text())
    rows = {row["address"]: row for row in told["rows"]}
    assert {"/approvals", "/generations", "/api/approvals", "/api/generations", "/economics"} <= set(rows)
    assert told["filled"]["records"] > 100_000
    assert [address for address, row in rows.items() if row["status"] >= 400] == []
