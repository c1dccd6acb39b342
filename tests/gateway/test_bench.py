"""`palimpsest bench modes`: a real run writes sane figures, a busy machine is refused, and the arithmetic is what it says."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from engine.config import CheckpointError
from engine.engine import Engine
from engine.events import Event, Prefilled
from engine.model.checkpoint import load
from engine.native import CompiledPass
from engine.request import Mode, Numeric
from engine.train.execution import JailUnavailable, require_jail
from gateway.bench.errors import BenchError
from gateway.bench.lanes import MIXED, MIXED_MODES, Answer, Course, Lane, Run, lanes, race
from gateway.bench.modes import PROMPT_FILE_BYTES, Wish, arithmetic_of, judged, on_device, questions, read_prompts, run
from gateway.bench.table import Measured, Standings, percentile, row, tables
from gateway.cli import palimpsest
from gateway.cli.bench import ROWS, refusal
from gateway.cli.failure import CommandFailed
from tests.engine.harness import loaded, model
from tests.engine.small import TINY, small_network
from tests.gateway.served import environ

ROOT = Path(__file__).parents[2]
LEAST = {
    "mode", "concurrency", "block_length", "tokens_per_second", "tokens_per_forward", "ttft_ms_p50", "latency_ms_p50",
    "latency_ms_p99", "task_accuracy", "matches_ar",
}  # fmt: skip


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What a small run of the command printed, and its JSON."""
    file = tmp_path_factory.mktemp("bench") / "modes.json"
    small = ["--questions", "2", "--repeats", "1", "--concurrency", "1,2", "--max-tokens", "24", "--threads", "1", "--busy"]
    command = [sys.executable, "-m", "gateway", "bench", "modes", *small, "--numeric", "strict", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, env=environ() | {"COLUMNS": "80"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.long
def test_the_command_says_what_it_measured(printed: tuple[str, dict[str, Any]]) -> None:
    """The JSON names device, dtype, policy, threads and model, has each mode at each concurrency, and mixed at the highest."""
    _, document = printed
    about = {name: document[name] for name in ("device", "dtype", "numeric", "threads", "model", "busy")}
    assert about == {
        "device": "cpu", "dtype": "float32", "numeric": "strict", "threads": 1, "model": "palimpsest-tiny", "busy": True,
    }  # fmt: skip
    found = [(row["mode"], row["concurrency"], row["block_length"]) for row in document["rows"]]
    blocks = {mode: 8 if mode is Mode.QUADRATIC_SPEC else 16 for mode in Mode}
    assert sorted(found) == sorted([(mode, n, blocks[mode]) for mode in Mode for n in (1, 2)] + [("mixed", 2, 16)])


def test_the_figures_are_sane(printed: tuple[str, dict[str, Any]]) -> None:
    """Every row has the promised fields, its figures agree, and under strict the causal modes write what ar writes."""
    _, document = printed
    for each in document["rows"]:
        assert each.keys() >= LEAST
        low, high = each["tokens_per_second_spread"]
        assert 0 < low <= each["tokens_per_second"] <= high
        assert each["tokens_per_forward"] == pytest.approx(each["tokens"] / each["forwards"], abs=1e-4)
        assert 0 < each["ttft_ms_p50"] <= each["latency_ms_p50"] <= each["latency_ms_p99"]
        assert 0 <= each["matches_ar"] <= 1 and 0 <= each["task_accuracy"] <= 1
        assert each["share_of_tokens_per_forward"] == pytest.approx(
            each["speedup_over_ar"] / each["tokens_per_forward"], abs=1e-3
        )
        assert (each["share_of_weighted_mean"] is not None) == (each["mode"] == MIXED)
        if each["mode"] in {Mode.AR, Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC, Mode.AUTO}:
            assert each["matches_ar"] == 1
        if each["mode"] == Mode.AR:
            assert each["speedup_over_ar"] == 1
        if each["concurrency"] == 1:
            assert each["throughput_over_one"] == 1


def test_the_command_defines_a_forward(printed: tuple[str, dict[str, Any]]) -> None:
    """The table shows every row whole in 80 columns, with the definition of tokens per forward below it."""
    shown, document = printed
    assert "A forward is any network pass after prefill" in shown and "…" not in shown
    assert shown.count("quadratic_spec") == 2 * 2
    assert "sum of its tokens / sum of its forwards" in document["definitions"]["tokens_per_forward"]


def called(*words: str) -> Result:
    """`palimpsest bench modes` in this process, which it refuses at the latest because torch is loaded here."""
    return CliRunner().invoke(palimpsest, ["bench", "modes", *words])


def test_a_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Above a load average of one half the command ends with 1, says why, and writes nothing."""
    monkeypatch.setattr(os, "getloadavg", lambda: (0.51, 0.0, 0.0))
    done = called("--json", str(tmp_path / "modes.json"))
    assert isinstance(done.exception, CommandFailed) and "0.51" in str(done.exception) and "--busy" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("load_average", "busy", "refused"), [(0.5, False, False), (0.51, False, True), (9.0, True, False)])
def test_busy_overrides(load_average: float, busy: bool, refused: bool) -> None:
    """The line is one half, and `--busy` overrides it."""
    assert (refusal(load_average, busy) is not None) is refused


def test_threads_are_counted_before_torch() -> None:
    """torch computes in as many threads as were asked for, even more than processors; once it is loaded it is too late."""
    program = "from gateway.cli.bench import count_threads; count_threads(3); import torch; print(torch.get_num_threads())"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, cwd=ROOT, env=environ(), capture_output=True, text=True, check=True).stdout == "3\n"
    done = called("--busy")
    assert isinstance(done.exception, CommandFailed) and "torch is loaded" in str(done.exception)


@pytest.mark.parametrize("text", ["", "0", "1,", "1,,2", "-1", "1.5", "ten", "1025", "9" * 40, "²"])
def test_a_wrong_concurrency_is_refused(text: str) -> None:
    """Anything but whole numbers in bounds is a usage error that shows what would do."""
    done = called("--busy", "--concurrency", text)
    assert done.exit_code == 2 and "such as 1,16" in " ".join(done.output.split())


def test_the_rows_are_the_modes() -> None:
    """The command offers every mode of the engine, and mixed."""
    assert set(ROWS) == {*Mode, MIXED}


def test_lanes() -> None:
    """Every mode at every concurrency, mixed at the highest alone, and quadratic blocks of 8 at most."""
    found = lanes(ROWS, (1, 4), 32)
    assert len(found) == 2 * len(Mode) + 1 and found[-1] == Lane(MIXED, MIXED_MODES, 4, 32)
    assert {lane.block for lane in found if lane.name == Mode.QUADRATIC_SPEC} == {8}
    assert [lane.block for lane in lanes(["quadratic_spec", "ar"], (1,), 4)] == [4, 4]


class Overheard(Engine):
    """An engine that keeps what it said."""

    heard: tuple[Event, ...] = ()

    def step(self) -> list[Event]:
        events = super().step()
        self.heard += tuple(events)
        return events


def test_lanes_take_turns_and_share_nothing() -> None:
    """Warm-ups come first, then A B A B; no prompt profits from the cache of a run, or of a mode, before it."""
    engine = Overheard(model())
    course = Course(engine, [tuple(range(1, 80)), tuple(range(40, 99))], 4, stop=127)
    entered = [Lane("ar", (Mode.AR,), 2, 8), Lane(MIXED, MIXED_MODES, 2, 8)]
    told: list[str] = []
    runs = race(course, entered, 2, told.append)
    assert [what.partition(":")[0] for what in told] == ["warm-up"] * 2 + ["1 of 2"] * 2 + ["2 of 2"] * 2
    assert [what.split()[-5].rstrip(",") for what in told] == ["ar", MIXED] * 3
    assert [len(run.answers) for own in runs.values() for run in own] == [2, 2, 8, 8]
    prefilled = [event for event in engine.heard if isinstance(event, Prefilled)]
    assert len(prefilled) == 3 * (2 + 8) and all(event.cached == 0 for event in prefilled)


def test_concurrency_is_kept() -> None:
    """Never more answers are under way than the lane allows, and the next prompt goes in when one ends."""
    course = Course(Engine(model()), [(1, place) for place in range(2, 9)], 6, stop=127)
    answers = course.run(Lane("ar", (Mode.AR,), 3, 8)).answers
    assert [answer.place for answer in answers] == list(range(7))
    moments = sorted([(answer.ended, -1) for answer in answers] + [(answer.asked, 1) for answer in answers])
    under_way = [sum(change for _, change in moments[: place + 1]) for place in range(len(moments))]
    assert max(under_way) == 3 and under_way[-1] == 0


def test_a_failed_answer_ends_the_benchmark() -> None:
    """A generation that ends by a fault gives no figures but an error that names the prompt."""
    network = small_network()
    with torch.no_grad():
        network.embed_tokens.weight[5] = torch.nan
    course = Course(Engine(loaded(network)), [(1, 5)], 4, stop=127)
    with pytest.raises(BenchError, match="prompt 0 in ar ended by fault"):
        course.run(Lane("ar", (Mode.AR,), 1, 8))


def answer(place: int, mode: Mode, ids: list[int], first: float, ended: float, told: int, forwards: int) -> Answer:
    """An answer that was asked for at 0."""
    return Answer(place, mode, 0.0, first, ended, told, forwards, ids)


def lane(name: str, *modes: Mode, at_once: int = 2) -> Lane:
    """A lane of the tests."""
    return Lane(name, modes, at_once, 16)


def greedy(*places: int, tokens: int = 20) -> tuple[Answer, ...]:
    """What ar answers: for prompt n the id 7 + n again and again, first told after one second and all after two."""
    return tuple(answer(place, Mode.AR, [7 + place] * tokens, 1, 2, 1, tokens - 1) for place in places)


AR_ONE = Measured(lane("ar", Mode.AR, at_once=1), [Run(seconds, greedy(0, 1)) for seconds in (4, 2, 8)])
AR = Measured(lane("ar", Mode.AR), [Run(1.0, greedy(0, 1))])
SPEC = Measured(lane("linear_spec", Mode.LINEAR_SPEC), [Run(0.25, (answer(0, Mode.LINEAR_SPEC, [7] * 20, 0.05, 0.25, 5, 5),))])
BOTH = Measured(
    lane(MIXED, Mode.AR, Mode.LINEAR_SPEC),
    [Run(1.0, (*greedy(0), answer(0, Mode.LINEAR_SPEC, [9] * 20, 0.05, 0.25, 5, 5)))],
)


def test_the_arithmetic_of_a_row() -> None:
    """Rates are medians with extremes; ratios are to ar at the same and to the mode at concurrency 1; times are in ms."""
    standings = Standings([AR_ONE, AR, SPEC, BOTH])
    one, ar, spec = (row(standings, each, lambda judged: judged.place == 0) for each in (AR_ONE, AR, SPEC))
    assert one["tokens_per_second"] == 10 and one["tokens_per_second_spread"] == [5, 20]
    assert ar["tokens_per_second"] == 40 and ar["throughput_over_one"] == 4 and ar["task_accuracy"] == 0.5
    assert ar["matches_ar"] == 1 and ar["decode_tokens_per_second"] == 19
    assert spec["tokens_per_second"] == 80 and spec["speedup_over_ar"] == 2 and spec["throughput_over_one"] is None
    assert spec["tokens_per_forward"] == 4 and spec["share_of_tokens_per_forward"] == 0.5
    assert spec["decode_tokens_per_second"] == pytest.approx(15 / 0.2) and spec["matches_ar"] == 1
    assert (spec["ttft_ms_p50"], spec["latency_ms_p50"], spec["latency_ms_p99"]) == (50, 250, 250)


def test_the_arithmetic_of_a_mixed_row() -> None:
    """Its share is measured / (tokens / sum of what each mode's tokens take alone at that concurrency)."""
    mixed = row(Standings([AR_ONE, AR, SPEC, BOTH]), BOTH, None)
    assert mixed["share_of_weighted_mean"] == pytest.approx(40 / (40 / (20 / 40 + 20 / 80)), abs=1e-4)
    assert mixed["matches_ar"] == 0.5 and mixed["task_accuracy"] is None


def test_what_was_not_measured_is_null() -> None:
    """Without ar, without concurrency 1 and without the modes alone a row has nulls, and the tables have dashes."""
    rows = [row(Standings([each]), each, None) for each in (SPEC, BOTH)]
    absent = ("speedup_over_ar", "share_of_tokens_per_forward", "throughput_over_one", "share_of_weighted_mean", "matches_ar")
    assert all(each[name] is None for each in rows for name in absent)
    shown = io.StringIO()
    for table in tables(rows):
        Console(width=80, file=shown).print(table)
    lines = [line.split() for line in shown.getvalue().splitlines() if line.split()[:1] in (["linear_spec"], [MIXED])]
    assert [line.count("-") for line in lines] == [4, 4, 2, 2]


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_a_percentile_is_one_of_the_values(values: list[float], percent: int) -> None:
    """Nearest rank: one of the values, at least `percent` of them not above it, fewer than that below it."""
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values) > sum(value < found for value in values) * 100
    assert all(percentile(values, low) <= percentile(values, high) for low, high in pairwise((1, 50, 99, 100)))


def wish(**changes: Any) -> Wish:
    """A small benchmark."""
    fields: dict[str, Any] = {
        "checkpoint": TINY, "numeric": Numeric.FAST, "dtype": "fp32", "device": "cpu", "threads": 1, "repeats": 1,
        "rows": ("linear_spec",), "concurrency": (2,), "block": 16, "max_tokens": 8, "questions": 2, "prompts": None,
        "load_average": 0.0, "busy": True,
    }  # fmt: skip
    return Wish(**(fields | changes))


def test_strict_by_the_library_has_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be compiled, strict is refused more threads than it would take, rather than measured on fewer."""
    monkeypatch.setattr(CompiledPass, "usable", staticmethod(lambda *_: False))
    with pytest.raises(BenchError, match="2 threads at most"):
        run(wish(numeric=Numeric.STRICT, threads=3), Console(file=io.StringIO()))


def test_answers_that_cannot_be_run_are_told_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where code cannot be locked in, the built-in questions are refused at once; one's own prompts are not judged."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    require_jail.cache_clear()
    with pytest.raises(JailUnavailable):
        run(wish(checkpoint=TINY / "not there"), Console(file=io.StringIO()))
    with pytest.raises(CheckpointError):
        run(wish(checkpoint=TINY / "not there", prompts=TINY / "README.md"), Console(file=io.StringIO()))


def test_an_answer_is_judged_by_running_it() -> None:
    """The grammar's own answer to a question passes its hidden cases; another question's answer, or none, does not."""
    trained, tasks = load(TINY), questions(2)
    passed = judged(trained, tasks)
    right, other = (trained.tokenizer.encode(each.answer) for each in tasks)
    verdicts = [passed(answer(0, Mode.AR, ids, 1, 2, 1, 1)) for ids in (right, other, [])]
    assert verdicts == [True, False, False]


def test_own_prompts(tmp_path: Path) -> None:
    """With a file of prompts nobody can judge the answers, and only as many are asked as were wished for."""
    file = tmp_path / "prompts.txt"
    file.write_text("Write a function.\n\nWrite another.\nAnd a third.\n", encoding="utf-8")
    document = run(wish(prompts=file), Console(quiet=True))
    assert document["prompts"] == 2 and document["dtype"] == "float32"
    assert [(row["task_accuracy"], row["tokens"]) for row in document["rows"]] == [(None, 16)]


def test_prompts_of_many_lines(tmp_path: Path) -> None:
    """A .jsonl file holds one JSON string a line, so that a prompt may have line breaks."""
    file = tmp_path / "prompts.jsonl"
    file.write_text('"one\\ntwo"\n\n"three"\n', encoding="utf-8")
    assert read_prompts(file, 10) == ["one\ntwo", "three"] and read_prompts(file, 1) == ["one\ntwo"]


HOSTILE = [
    b"\xff\xfe", b"3\n", b'{"prompt": 1}\n', b'"open', b"", b"\n \n", b'" "\n', b"[" * 200_000, b"a" * (PROMPT_FILE_BYTES + 1),
]  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE, ids=lambda content: repr(content[:12]))
def test_hostile_prompts_are_refused(content: bytes, tmp_path: Path) -> None:
    """A file that is not UTF-8, not strings, empty, endless or too deep is a BenchError that names it."""
    file = tmp_path / "prompts.jsonl"
    file.write_bytes(content)
    with pytest.raises(BenchError, match=r"prompts\.jsonl"):
        read_prompts(file, 10)


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_are_prompts_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever a file holds, reading it gives non-empty prompts or a BenchError."""
    file = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    file.write_bytes(content)
    try:
        found = read_prompts(file, 3)
    except BenchError:
        return
    assert 1 <= len(found) <= 3 and all(text.strip() for text in found)


def test_a_dtype_that_cannot_be_had_is_refused() -> None:
    """strict is float32; fast takes what was asked for or refuses."""
    with pytest.raises(BenchError, match="float32 by definition"):
        arithmetic_of(Numeric.STRICT, "bf16")
    there = replace(load(TINY), device=torch.device("cuda", 1))
    with pytest.raises(BenchError, match="computes in bfloat16"):
        on_device(wish(dtype="fp32"), there)
    chosen = on_device(wish(dtype=None), there)
    assert chosen is not None and chosen.device == there.device and on_device(wish(), load(TINY)) is None
    assert arithmetic_of(Numeric.STRICT, "fp32").numeric is Numeric.STRICT
    assert arithmetic_of(Numeric.FAST, "fp32").dtype == torch.float32
