"""The databases that tests are given: where they lie, and that nothing of them stays."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from gateway.postgres import Server
from migrations.catalog import Guard, require_intact
from tests import postgres_fixtures
from tests.postgres_fixtures import copied


def test_a_copy_is_guarded_wherever_it_lies_and_gone_afterwards(cluster: Server) -> None:
    """A copy in memory is, as one on disk, the schema of this release with its guard, and is dropped in the end."""
    with copied(cluster) as made:
        assert require_intact(made.app_url) is Guard.PRESENT
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(made.superuser_url)


def test_what_a_killed_run_left_in_memory_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose process is dead goes; those of living ones, and of strangers, stay."""
    dead = subprocess.Popen([sys.executable, "-S", "-c", ""])
    dead.wait()
    monkeypatch.setattr(postgres_fixtures, "_MEMORY", tmp_path)
    left, used, other = (
        tmp_path / f"{name}-x" for name in (f"palimpsest-tests-{dead.pid}", f"palimpsest-tests-{os.getpid()}", "a")
    )
    for folder in (left, used, other):
        (folder / "PG_18").mkdir(parents=True)
    postgres_fixtures._sweep()
    assert set(tmp_path.iterdir()) == {used, other}
