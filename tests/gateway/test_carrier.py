"""Checkpoints leave the house while the gateway serves, and a place that is away holds nobody up."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from audit.ledger import log_origin
from audit.note import Checkpoint, decode_vkey, open_checkpoint
from audit.signer import Signer
from gateway import errands
from gateway.carrier import destinations
from gateway.errands import Errands
from gateway.settings import SettingsError
from tests.audit.writer_samples import TENANT
from tests.engine.small import TINY
from tests.gateway.housed import housed
from tests.gateway.served import Served, serve
from tests.gateway.tenant_log import TenantLog
from tests.gateway.test_serving import QUESTIONS
from tests.postgres_fixtures import Database
from tests.waiting import eventually, until

SECRET = "never-to-be-logged-2742"


def ask(served: Served) -> int:
    """One answer; the seq of its last record."""
    body = {"model": served.model, "messages": [{"role": "user", "content": QUESTIONS[0].prompt}], "temperature": 0}
    answer = served.post(body)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["palimpsest"]["last_seq"])


def carried(log: TenantLog, outside: Path) -> list[Checkpoint]:
    """The checkpoints of the tenant's log that lie outside, each verified."""
    origin = log_origin(log.origin, TENANT)
    key = decode_vkey(Signer(log.keys, origin).vkey)
    notes = [json.loads(line) for line in outside.read_text(encoding="utf-8").splitlines()] if outside.exists() else []
    return [open_checkpoint(note, [key], origin) for note in notes if note.startswith(f"{origin}\n")]


def covered(log: TenantLog, outside: Path, seq: int) -> bool:
    """Whether a checkpoint over record `seq` lies outside."""
    return any(each.size > seq for each in carried(log, outside))


def arrives(served: Served, outside: Path, seq: int) -> None:
    """Wait until a checkpoint over record `seq` lies outside."""
    eventually(lambda: covered(served.log, outside, seq))


async def test_checkpoints_are_carried_out_over_restarts(database: Database, tmp_path: Path) -> None:
    """Every checkpoint is in the file outside, once and in order, those of an earlier process included."""
    outside, home = tmp_path / "elsewhere" / "kept.jsonl", tmp_path / "home"
    for _ in range(2):
        async with housed(database, home, ship_to=f"file:{outside}") as running:
            last = (await running.ask()).json()["palimpsest"]["last_seq"]
            await until(partial(covered, running.log, outside, last))
    sizes = [each.size for each in carried(running.log, outside)]
    assert sizes == sorted(sizes) and len(set(sizes)) >= 2
    (filed,) = (home / "keys" / "checkpoints").glob(f"*{TENANT}.jsonl")
    signed = [json.loads(line) for line in filed.read_text(encoding="utf-8").splitlines()]
    kept = [json.loads(line) for line in outside.read_text(encoding="utf-8").splitlines()]
    own = [note for note in kept if note.startswith(f"{log_origin(running.log.origin, TENANT)}\n")]
    assert own == signed[: len(own)]


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


def test_an_errand_that_breaks_off_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that an error ends is told of and begun anew after a while, and ends when it is to stop."""
    monkeypatch.setattr(errands, "AGAIN_SECONDS", 0.01)
    begun = list[Event]()

    def work(stopping: Event) -> None:
        begun.append(stopping)
        if len(begun) < 3:
            raise RuntimeError("broken")
        stopping.wait()

    running = Errands([("test", work)])
    running.start()
    eventually(lambda: len(begun) == 3)
    running.stop()
    assert not running._threads[0].is_alive()
