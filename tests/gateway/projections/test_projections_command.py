"""`palimpsest projections` says how far the tables are, and makes them again."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from tests.audit.writer_samples import ORIGIN
from tests.gateway.commanding import CommandLine, command_line
from tests.gateway.projections.following import Following


@pytest.fixture
def palimpsest(
    logs: Following, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> CommandLine:
    """The command over the logs."""
    made = command_line(monkeypatch, capsys, tmp_path, logs.database)
    made.set(keys=str(logs.keys), origin=ORIGIN)
    return made


def test_status_and_rebuild(logs: Following, palimpsest: CommandLine, tmp_path: Path) -> None:
    """What is behind is told as such; a rebuild mends rows that were spoiled and leaves nothing behind."""
    tenant, other = logs.tenant(), logs.tenant()
    logs.had(tenant, "answered")
    logs.had(other, "answered")
    logs.projector.follow(other)
    file = tmp_path / "status.json"
    assert palimpsest("projections", "status", "--json", str(file)).status == 0
    told = {each["tenant"]: each for each in json.loads(file.read_text())["logs"]}
    assert (told[tenant]["records"], told[tenant]["followed"]) == (7, 0)
    assert (told[other]["records"], told[other]["followed"]) == (7, 7)
    before = logs.rows(other)
    with psycopg.connect(logs.database.app_url) as connection:
        connection.execute("UPDATE app.generation SET tokens = 1000000")
    assert palimpsest("projections", "rebuild", "--tenant", other).status == 0
    assert logs.rows(other) == before and logs.states(tenant) == {}
    done = palimpsest("projections", "rebuild")
    assert done.status == 0 and len(logs.states(tenant)) == 1


def test_nobody_rebuilds_the_tables_of_a_tenant_that_is_not(palimpsest: CommandLine) -> None:
    """An unknown name is refused before anything is removed."""
    done = palimpsest("projections", "rebuild", "--tenant", "nobody")
    assert done.status == 1 and "no tenant 'nobody'" in done.err


@pytest.mark.parametrize("words", ["projections rebuild", "approvals list --tenant"])
def test_tables_are_not_made_by_other_keys(logs: Following, palimpsest: CommandLine, tmp_path: Path, words: str) -> None:
    """What other keys than the gateway's cannot read would be told as erased: the tables stay as they are."""
    tenant = logs.tenant()
    logs.had(tenant, "answered")
    before = logs.rows(tenant)
    palimpsest.set(keys=str(tmp_path / "elsewhere"))
    done = palimpsest(*words.split(), *([tenant] if words.endswith("--tenant") else []))
    assert done.status == 1 and "set PALIMPSEST_KEYS" in done.err, done
    assert logs.rows(tenant) == before
    assert [each.followed for each in logs.projector.status() if each.tenant == tenant] == [0]
