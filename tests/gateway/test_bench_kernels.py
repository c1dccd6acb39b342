"""`palimpsest bench kernels` on a machine without a CUDA device, and what it would run on one."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from gateway.bench import kernels as bench
from gateway.bench.kernels import run
from gateway.cli import palimpsest
from gateway.cli.failure import CommandFailed
from kernels import ahead
from kernels.ahead import Shape, specimens
from kernels.head import Picked
from kernels.measure import Bench, Ceilings, Measured

SMALL = Shape(hidden=64, inner=96, queries=4, keys=2, size=16, vocab=200, rank=4)


def tensors_of(found: object) -> list[torch.Tensor]:
    """The tensors that a door gives: one, a tuple, or a pick's."""
    match found:
        case torch.Tensor():
            return [found]
        case Picked():
            return [found.token, found.logit, found.lse, found.scored]
        case tuple():
            return list(found)
        case _:
            raise TypeError(type(found))


def test_without_a_device_nothing_is_estimated(tmp_path: Path) -> None:
    """The command succeeds, says that nothing was measured, and writes null for every figure."""
    done = CliRunner().invoke(palimpsest, ["bench", "kernels", "--json", str(tmp_path / "kernels.json")])
    assert done.exit_code == 0, done.output
    assert "not measured, no CUDA device" in done.output
    found = json.loads((tmp_path / "kernels.json").read_text(encoding="utf-8"))
    assert [found[name] for name in ("device", "ceilings", "rows", "compiled")] == [None] * 4
    assert found["reason"] == "no CUDA device" and found["versions"]["torch"]


def test_every_case_runs_and_counts_its_work() -> None:
    """What a device would be timed at computes finite numbers here, and its bytes and operations are those of its shapes."""
    cases = list(Bench(SMALL, torch.device("cpu"), torch.float32).cases((1, 3), (64,)))
    assert len({(case.name, case.rows) for case in cases}) == len(cases) == 20
    for case in cases:
        found = case.run()
        assert all(part.float().isfinite().all() for part in tensors_of(found))
    product = next(case for case in cases if case.name == "linear 96 x 64" and case.rows == 3)
    assert product.bytes == 4 * (96 * 64 + 3 * 96 + 3 * 64) and product.operations == 2 * 3 * 96 * 64
    attention = next(case for case in cases if case.name == "attention over 64" and case.rows == 3)
    assert attention.bytes == 4 * 16 * (64 * 2 * 2 + 3 * 2 * 4) and attention.operations == 4 * 3 * 64 * 4 * 16


def test_shares_are_of_the_ceilings_of_the_same_run() -> None:
    """A row of the JSON has the measured figures and their parts of copy and product."""
    row = bench._row(Measured("head", 1, 0.5, 3e12, 1e12), Ceilings(4e12, 8e14))
    assert row["share_of_copy"] == pytest.approx(0.75) and row["share_of_product"] == pytest.approx(1 / 800)
    assert math.isclose(row["seconds"], 0.5) and row["name"] == "head"


def test_compiled_kernels_are_tabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kernel is a line with registers, stack and shared bytes for every GPU, and stands in the JSON."""
    select = next(specimen for specimen in specimens() if specimen.name == "select")
    monkeypatch.setattr(bench, "specimens", lambda: [select])
    console = Console(file=io.StringIO(), record=True, width=100)
    rows = run(compile_all=True, console=console)["compiled"]
    assert [(row["name"], row["capability"], row["stack_bytes"]) for row in rows] == [("select", c, 0) for c in (80, 90, 100)]
    told = console.export_text()
    assert all(row["registers"] > 0 and f"{row['registers']} / 0 / {row['shared_bytes']}" in told for row in rows)


def test_a_machine_without_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Triton is missing --compile ends with one sentence that says what to do."""
    monkeypatch.setattr(ahead, "HAS_TRITON", False)
    done = CliRunner().invoke(palimpsest, ["bench", "kernels", "--compile"])
    assert isinstance(done.exception, CommandFailed) and "install it (Linux only)" in str(done.exception)
