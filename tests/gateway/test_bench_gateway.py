"""`palimpsest bench gateway`: a real run over a real gateway writes sane figures and leaves nothing behind."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from engine.request import Mode
from gateway.bench.fsync import Fsync
from gateway.bench.gateway import ALLOWED_MS, DEFINITIONS, GatewayWish, Pair, run
from gateway.bench.place import environ_of, place
from gateway.cli import palimpsest
from gateway.settings import Settings
from tests.gateway.served import environ

SMALL = GatewayWish(
    mode=Mode.LINEAR_SPEC, block=16, max_tokens=4, pairs=3, requests=4, concurrency=(1, 3), threads=1, here=False,
    load_average=0.0, busy=True,
)  # fmt: skip


@pytest.mark.long
def test_the_figures_are_sane(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every promised figure is there, in its order of magnitude, beside its definition and circumstances; no place is left."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    console = Console(file=io.StringIO())
    document = json.loads(json.dumps(run(SMALL, Settings.read(environ(numeric="fast")), console)))
    assert list(tmp_path.iterdir()) == []
    assert document["added_ms_p50"] <= document["added_ms_p99"] < 60_000
    assert 0 < document["fsync_ms_p50"] <= document["fsync_ms_p99"]
    assert document["added_ms_limit"] == pytest.approx(ALLOWED_MS + 2 * document["fsync_ms_p50"], abs=0.002)
    assert document["requests_per_second"].keys() == {"1", "3"} and all(document["requests_per_second"].values())
    assert document["engine_ms_p50"] > 0 and document["latency_ms_p50"]["1"] <= document["latency_ms_p99"]["1"]
    assert (document["numeric"], document["busy"], document["definitions"]) == ("fast", True, DEFINITIONS)


def test_what_is_added_is_the_difference() -> None:
    """A pair's price is the gateway's time without the engine's."""
    assert Pair(gateway=0.030, engine=0.025).added == pytest.approx(0.005)


def test_a_page_is_flushed_again_and_again(tmp_path: Path) -> None:
    """The probe goes round in its file, takes time on the disk, and leaves no file."""
    with Fsync.in_folder(tmp_path) as fsync:
        assert all(0 < fsync.once() < 60 for _ in range(3))
    assert list(tmp_path.iterdir()) == []


PLACE = """
from gateway.bench.place import place
from gateway.postgres_place import find_place
from gateway.settings import Settings
with place(Settings.read({}), here=False) as used:
    found = find_place(used.home)
    print(used.home, found.folder, found.socket, sep="\\n")
"""


def users() -> list[list[str]]:
    """What to put before a command so that root runs it, and an ordinary user, as far as this process can choose."""
    nobody = ["unshare", "--user"]  # root is nobody in a namespace of its own
    return [[], nobody] if shutil.which("unshare") and not subprocess.run([*nobody, "true"], check=False).returncode else [[]]


@pytest.mark.parametrize("user", users())
def test_nothing_of_a_throwaway_place_is_left(user: list[str]) -> None:
    """Its home, its data and its socket's folder go with it, whoever runs the benchmark: they lie elsewhere for root."""
    command = [*user, sys.executable, "-c", PLACE]
    done = subprocess.run(command, env=environ(), capture_output=True, text=True, check=False)
    assert done.returncode == 0 and len(done.stdout.split()) == 3, done.stderr
    assert not [name for name in done.stdout.split() if Path(name).exists()]


def test_the_gateway_gets_the_place_of_its_benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A throwaway place hides database and outside places from the gateway; with `here` they are those that are used."""
    given = {"PALIMPSEST_DATABASE_URL": "postgresql://gov_app@db/palimpsest", "PALIMPSEST_READER_URL": "postgresql://r@db/p"}
    given |= {"PALIMPSEST_SHIP_TO": "file:/mnt/kept.jsonl", "PALIMPSEST_WEBHOOKS": "https://example.org/hook"}
    for name, text in (given | {"PALIMPSEST_HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, text)
    settings = Settings.read(given | {"PALIMPSEST_HOME": str(tmp_path)})
    with place(settings, here=True) as same:
        assert same is settings and given.items() <= environ_of(same).items()
    with place(settings, here=False) as other:
        told = environ_of(other)
        assert Settings.read(told).database is None and Settings.read(told).home == other.home != tmp_path
        assert not (Settings.read(told).ship_to or Settings.read(told).webhooks or other.ship_to or other.webhooks)
    assert not other.home.exists()


def test_a_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under load nothing is measured unless the person says so."""
    monkeypatch.setattr("os.getloadavg", lambda: (3.0, 3.0, 3.0))
    refused = CliRunner().invoke(palimpsest, ["bench", "gateway"])
    assert refused.exit_code == 1 and "3.00" in str(refused.exception) and "--busy" in str(refused.exception)
