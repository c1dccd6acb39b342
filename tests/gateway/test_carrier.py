"""Checkpoints leave the house while the gateway serves, and a place that is away holds nobody up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audit.ledger import log_origin
from audit.note import Checkpoint, decode_vkey, open_checkpoint
from audit.signer import Signer
from gateway.carrier import destinations
from gateway.settings import SettingsError
from tests.audit.writer_samples import TENANT
from tests.engine.small import TINY
from tests.gateway.served import Served, serve
from tests.gateway.test_serving import QUESTIONS
from tests.postgres_fixtures import Database
from tests.waiting import eventually

SECRET = "never-to-be-logged-2742"


def ask(served: Served) -> int:
    """One answer; the seq of its last record."""
    body = {"model": served.model, "messages": [{"role": "user", "content": QUESTIONS[0].prompt}], "temperature": 0}
    answer = served.post(body)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["palimpsest"]["last_seq"])


def carried(served: Served, outside: Path) -> list[Checkpoint]:
    """The checkpoints of the tenant's log that lie outside, each verified."""
    origin = log_origin(served.settings.origin, TENANT)
    key = decode_vkey(Signer(served.settings.keys, origin).vkey)
    notes = [json.loads(line) for line in outside.read_text(encoding="utf-8").splitlines()] if outside.exists() else []
    return [open_checkpoint(note, [key], origin) for note in notes if note.startswith(f"{origin}\n")]


def arrives(served: Served, outside: Path, seq: int) -> None:
    """Wait until a checkpoint over record `seq` lies outside."""
    eventually(lambda: any(each.size > seq for each in carried(served, outside)))


def test_checkpoints_are_carried_out_over_restarts(database: Database, tmp_path: Path) -> None:
    """Every checkpoint is in the file outside, once and in order, those of an earlier process included."""
    outside, home = tmp_path / "elsewhere" / "kept.jsonl", tmp_path / "home"
    home.mkdir()
    for _ in range(2):
        with serve(database, home, TINY, ship_to=f"file:{outside}") as served:
            arrives(served, outside, ask(served))
    sizes = [each.size for each in carried(served, outside)]
    assert sizes == sorted(set(sizes)) and len(sizes) >= 2
    (filed,) = (home / "keys" / "checkpoints").glob(f"*{TENANT}.jsonl")
    assert {json.loads(line).split("\n")[1] for line in filed.read_text(encoding="utf-8").splitlines()} >= set(map(str, sizes))


def test_a_place_that_is_away_holds_nobody_up(database: Database, tmp_path: Path) -> None:
    """Answers come as ever, the other place gets its checkpoints, and the gateway's log names the trouble, and no secret."""
    outside = tmp_path / "kept.jsonl"
    away = "s3+http://127.0.0.1:9/bucket/audit?region=nowhere"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "x")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        with serve(database, tmp_path, TINY, ship_to=f"{away} file:{outside}") as served:
            last = ask(served)
            arrives(served, outside, last)
            eventually(lambda: "checkpoints.not_shipped" in (tmp_path / "gateway.log").read_text(encoding="utf-8"))
            assert served.ready() and ask(served) > last
    lines = (tmp_path / "gateway.log").read_text(encoding="utf-8").splitlines()
    assert all(SECRET not in line and "AWS_SECRET" not in line for line in lines)
    assert sum("checkpoints.not_shipped" in line for line in lines) <= 3


@pytest.mark.parametrize("place", ["ftp://example.org/", "s3+https://", "kept.jsonl"])
def test_a_place_that_cannot_be_is_refused_at_the_start(tmp_path: Path, place: str) -> None:
    """The error names the variable and shows what a place looks like."""
    with pytest.raises(SettingsError, match="PALIMPSEST_SHIP_TO: a destination is"):
        destinations([place], tmp_path, {})
