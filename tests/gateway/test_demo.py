"""The demo as a newcomer runs it: its exit status, its figures, its proof, and again on what it left."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from gateway.demo_table import LOSSLESS_MODES, MODES, Row, lossless
from gateway.postgres_place import find_place
from tests.gateway.served import environ
from tests.postgres_fixtures import Database
from tests.waiting import eventually

FIELDS = {
    "mode", "prompt_index", "temperature", "seed", "generation_id", "text", "prompt_tokens", "completion_tokens",
    "forwards", "tokens_per_forward", "tokens_per_second", "records",
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home for the embedded PostgreSQL, removed with all that it holds."""
    yield tmp_path / "var"
    place = find_place(tmp_path / "var")
    for folder in (place.folder, place.socket):
        shutil.rmtree(folder, ignore_errors=True)


def demo(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`palimpsest demo` in a process of its own."""
    command = [sys.executable, "-m", "gateway", "demo", *arguments]
    return subprocess.run(command, env=environ(home=str(home)), capture_output=True, text=True, check=False)


def per_forward(rows: list[dict[str, Any]], mode: str) -> float:
    """Sum of tokens over sum of forwards of a mode at temperature 0."""
    own = [row for row in rows if row["mode"] == mode and row["temperature"] == 0]
    tokens: int = sum(row["completion_tokens"] for row in own)
    forwards: int = sum(row["forwards"] for row in own)
    return tokens / forwards


@pytest.mark.long
@pytest.mark.timeout(400)
def test_the_demo_keeps_its_promises_and_runs_again(home: Path, tmp_path: Path) -> None:
    """Eight questions in each mode at two temperatures, lossless, fast enough per forward, verified; and a second run works."""
    done = demo(home, "--json", str(tmp_path / "demo.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "demo.json").read_text())
    rows = document["generations"]
    counts = Counter((row["mode"], row["temperature"]) for row in rows)
    assert counts == {(mode, temperature): 8 for mode in MODES for temperature in (0, 0.8)}
    assert all(row.keys() >= FIELDS for row in rows)
    assert document["lossless"] is True
    assert document["held"].keys() == {"approval_id", "state", "content_sha256"} and document["held"]["state"] == "released"
    greedy = next(row["text"] for row in rows if row["prompt_index"] == 0 and row["mode"] == "ar" and row["temperature"] == 0)
    assert document["held"]["content_sha256"] == hashlib.sha256(greedy.encode()).hexdigest()
    assert document["audit"]["verified"] is True and document["audit"]["tree_size"] > 300
    assert per_forward(rows, "linear_spec") >= 3.0
    assert per_forward(rows, "diffusion") >= 2.0
    assert "VERIFIED" in done.stdout and document["audit"]["root"] in done.stdout.replace("\n", "")
    again = demo(home, "--questions", "1")
    assert again.returncode == 0, again.stdout + again.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGINT, 130)])
def test_a_demo_that_is_ended_leaves_no_gateway_behind(
    database: Database, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """SIGTERM, as `timeout` and a service manager send it, Ctrl-C and a lost terminal end the gateway that it started too."""
    given = environ(home=str(tmp_path), database_url=database.app_url, reader_url=database.reader_url)
    log = tmp_path / "log" / "demo-gateway.log"
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # who runs the tests by nohup would have it ignored
    process = subprocess.Popen([sys.executable, "-m", "gateway", "demo"], env=given, stdout=subprocess.DEVNULL)
    signal.signal(signal.SIGHUP, before)
    try:
        eventually(lambda: log.exists() and log.stat().st_size > 0)
        started = children(process.pid)
        process.send_signal(number)
        assert process.wait(60) == status
        assert not [child for child in started if Path(f"/proc/{child}").exists()]
    finally:
        process.kill()


def test_a_command_may_outlive_its_terminal(tmp_path: Path) -> None:
    """What was started by nohup goes on when the terminal is gone."""
    command = ["nohup", sys.executable, "-c", OUTLIVING]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


OUTLIVING = """
import signal
from gateway.cli import _unwound_by_signals
with _unwound_by_signals():
    signal.raise_signal(signal.SIGHUP)
    print("alive")
"""


def children(process: int) -> list[str]:
    """The processes that a process has started and that live."""
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def row(mode: str, text: str, temperature: float = 0.0) -> Row:
    """An answer of which only the mode, the temperature and the text matter."""
    empty: dict[str, Any] = {name.name: 0 for name in fields(Row)}
    return Row(**(empty | {"mode": mode, "text": text, "temperature": temperature}))


def test_lossless_needs_every_mode_and_one_text() -> None:
    """A missing mode, no rows at all, or one differing text is not lossless; what `diffusion` says does not matter."""
    same = [row(mode, "a") for mode in LOSSLESS_MODES]
    assert lossless([*same, row("diffusion", "b")])
    assert not lossless([])
    assert not lossless(same[:2])
    assert not lossless([*same[:2], row("quadratic_spec", "b")])
    assert not lossless([*same, row("ar", "b", 0.8)])
