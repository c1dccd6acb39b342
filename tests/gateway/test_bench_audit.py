"""`palimpsest bench audit`: a real run writes sane figures over a real log, and leaves no database behind."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.header import decode_header
from audit.records import Kind
from audit.store import read_tenant
from audit.trace import decode_steps
from gateway.bench.audit import DEFINITIONS
from gateway.bench.logged import Cpu
from gateway.bench.streams import STEPS, WIDTH, flow, sample_blocks
from tests.audit.writer_samples import Place
from tests.gateway.served import environ
from tests.postgres_fixtures import Database

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The JSON of a small run."""
    folder = tmp_path_factory.mktemp("bench")
    small = (
        "--questions 24 --repeats 1 --concurrency 2 --max-tokens 70 --ignore-eos --threads 1 --seconds 0.3 --streams 4 --busy"
    )
    command = [sys.executable, "-m", "gateway", "bench", "audit", *small.split()]
    settings = environ(home=str(folder / "home"), numeric="fast") | {"TMPDIR": str(folder)}
    done = subprocess.run(
        [*command, "--json", str(folder / "audit.json")], cwd=ROOT, env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not (folder / "home").exists() and not list(folder.glob("palimpsest-bench-*"))
    found: dict[str, Any] = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.long
def test_the_figures_are_sane(document: dict[str, Any]) -> None:
    """Every promised figure is there and in its order of magnitude, and the definitions stand beside them."""
    assert 0 < document["throughput_ratio_on_off"] < 3 and 0 < document["throughput_ratio_log"] < 3
    assert document["cpu_us_per_block_log"] < document["cpu_us_per_block"]
    assert document["records_per_second"] > 10 and 0 < document["commit_ms_p50"] <= document["commit_ms_p99"] < 10_000
    assert document["cpu_us_per_block"] == pytest.approx(
        document["cpu_us_per_block_gateway"] + document["cpu_us_per_block_database"], abs=1
    )
    assert document["tokens_per_answer"] == 70
    # A stored block has more than 600 bytes, and none has ten times that.
    assert 600 * 1e6 / WIDTH < document["bytes_per_million_tokens"] < 6000 * 1e6 / WIDTH
    assert document["numeric"] == "fast" and document["busy"] is True and document["definitions"] == DEFINITIONS


def test_sample_blocks_are_blocks() -> None:
    """Each has all its steps: masks only vanish, the last step leaves none, and what was committed is the text."""
    for block in sample_blocks():
        steps = decode_steps(block)
        assert len(steps) == STEPS and all(len(step.masked) == WIDTH for step in steps)
        assert sum(sum(step.committed) for step in steps) == WIDTH
        final = {index: step.proposal[index] for step in steps for index in range(WIDTH) if step.committed[index]}
        assert tuple(final[index] for index in range(WIDTH)) == block.tokens


async def test_streams_wait_for_their_records(database: Database, tmp_path: Path) -> None:
    """Every record that a stream counted is in the log, in as many requests as there were streams, and waits were measured."""
    async with Place(database, tmp_path / "keys").writing() as writer:
        found = await flow(writer, "bench", 3, 0.3)
    with read_tenant(database.reader_url, "bench") as reader:
        headers = [decode_header(stored.header) for stored in reader.records()]
    assert len(headers) == found.records == len(found.waits) > 3
    assert {header.kind for header in headers} == {Kind.BLOCK} and len({header.request for header in headers}) == 3
    assert all(0 < wait < 10 for wait in found.waits)


def burn(seconds: float) -> None:
    """Use processor time."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@pytest.mark.parametrize(("name", "counted"), [("engine", False), ("other", True)])
def test_the_engine_thread_does_not_count(name: str, counted: bool) -> None:
    """Processor time of a Python thread counts unless it is the engine's; without a postmaster the database costs nothing."""
    done, cpu = threading.Event(), Cpu("engine", None)

    def work(then: Callable[[], object]) -> None:
        burn(0.3)
        then()
        done.wait()

    burnt = threading.Event()
    thread = threading.Thread(target=work, args=(burnt.set,), name=name)
    before = cpu.seconds()
    thread.start()
    burnt.wait()
    after = cpu.seconds()
    done.set()
    thread.join()
    assert (after[0] - before[0] >= 0.25) is counted and after[1] == 0
