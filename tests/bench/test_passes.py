"""What `make bench-cuda` measures of whole passes runs on a CPU too, by definitions, and tells no figure that it lacks."""

from __future__ import annotations

import io
from dataclasses import asdict

import pytest
import torch
from rich.console import Console

from engine.device import OnDevice
from engine.model.checkpoint import LoadedModel
from engine.pages import PagePool
from engine.request import Numeric
from kernels.ahead import EIGHT_B, Shape
from kernels.measure import Bench, Ceilings
from tests.bench.laws import Law, judge
from tests.bench.passes import (
    CONTEXT,
    CROWD,
    EIGHT_B_CONFIG,
    Reached,
    Running,
    Steps,
    Trace,
    config_of,
    planned,
    random_model,
    reached,
    read_bytes,
)
from tests.bench.targets import ATTENTION, HEAD, QUICK, SLOW, TARGETS, Figure, figures, table
from tests.engine.passes import repeated

CPU = torch.device("cpu")
SMALL = config_of(Shape(hidden=32, inner=48, queries=2, keys=1, size=16, vocab=400, rank=2), layers=1)
ROWS = [
    {"name": ATTENTION, "rows": 32, "share_of_copy": 0.8},
    {"name": HEAD, "rows": 1, "share_of_copy": 0.9},
    {"name": HEAD, "rows": 32, "share_of_copy": 0.5},
]


@pytest.fixture(scope="module")
def small() -> LoadedModel:
    """A small random model on the host."""
    return random_model(SMALL, 2, CPU, torch.float32)


@pytest.fixture(scope="module")
def whole() -> Reached:
    """Everything, by definitions, and passes recorded in place of graphs."""
    told: list[str] = []
    found = reached(SMALL, lambda numeric: OnDevice(numeric, CPU, torch.float32, lambda _: repeated), (2.0,), 40, told.append)
    assert len(told) == 5
    return found


def test_the_shape_is_that_of_the_release(small: LoadedModel) -> None:
    """The 8B model's weights, as many as it has, of which a pass of one row reads all but embedding rows and drafter LoRA."""
    shape, config = EIGHT_B, EIGHT_B_CONFIG
    layer = shape.hidden * shape.size * 2 * (shape.queries + shape.keys) + 3 * shape.hidden * shape.inner + 2 * shape.hidden
    assert config.num_hidden_layers * layer + 2 * shape.vocab * shape.hidden == pytest.approx(8.5e9, rel=0.02)
    own = 32 * 16 * 2 * (2 + 1) + 3 * 32 * 48 + 2 * 32
    assert read_bytes(small.network, torch.bfloat16) == 2 * (own + 400 * 32 + 32)


def test_everything_is_measured_and_adds_up(whole: Reached) -> None:
    """Times are positive, no more was lost than there was, and the trace gives the tokens per forward that were asked for."""
    for steps in (whole.fast, whole.strict):
        assert min(asdict(steps).values()) > 0
    assert whole.crowd.tokens > 0 and whole.crowd.passes > 0 and whole.crowd.lost < 1
    (trace,) = whole.traces
    assert trace is not None and trace.temperature > 0
    assert trace.tokens_per_forward == pytest.approx(2.0, rel=0.03) and trace.tokens_per_second > 0


def test_a_timed_pass_gives_its_pages_back() -> None:
    """Rows stand behind what is cached, each asked for; afterwards no page is owned; a crowd that has no room is refused."""
    pool = PagePool(SMALL, 64, torch.float32)
    with planned(pool, 3, 2) as each:
        assert each.plan.size == 6 and each.plan.position.tolist() == [CONTEXT, CONTEXT + 1] * 3
        assert sum(ask.rows for ask in each.asks) == len(each.plan.wanted) == 6 and pool.available < 64
    assert pool.available == 64
    with pytest.raises(ValueError, match="more than the pool's pages hold"), planned(pool, 4, 1):
        pass
    assert pool.available == 64


def test_what_no_temperature_gives_is_not_measured(small: LoadedModel) -> None:
    """More tokens per forward than a block has rows cannot be had, and no other rate is told in their place."""
    running = Running(small, OnDevice(Numeric.FAST, CPU, torch.float32), pages=256)
    assert running.trace(40, 16) is None


def test_a_fault_ends_the_measuring() -> None:
    """An engine whose passes fail is not waited for: what it says of the fault is raised."""
    broken = random_model(SMALL, 2, CPU, torch.float32)
    broken.network.norm.weight.fill_(float("nan"))
    running = Running(broken, OnDevice(Numeric.FAST, CPU, torch.float32), pages=512)
    for measure in (running.crowd, lambda tokens: running.trace(2.0, tokens)):
        with pytest.raises(RuntimeError, match="NumericFault"):
            measure(40)


def test_a_law_that_raises_is_broken_and_ends_nothing() -> None:
    """It counts like one that does not hold, with what it raised, and the next is tried."""
    told: list[str] = []
    laws = [Law("one", lambda: str(1 // 0)), Law("two", lambda: None), Law("three", lambda: "not so")]
    assert judge(iter(laws), told.append) == 2
    assert "ZeroDivisionError" in told[0] and told[1] == "held: two" and told[2] == "BROKEN: three: not so"


def test_without_a_device_every_figure_is_told_as_not_measured() -> None:
    """No target has a value, a verdict or an estimate."""
    found = figures(None, None, None)
    assert len(found) == len(TARGETS) and all(figure.row["value"] is figure.row["met"] is None for figure in found)
    assert printed(found).count("not measured") == len(TARGETS)


def test_the_kernels_that_are_asked_for_are_measured() -> None:
    """Each kernel's row that a target looks at is among those that a device is timed at."""
    timed = {(case.name, case.rows) for case in Bench(Shape(32, 48, 2, 1, 16, 400, 2), CPU).cases()}
    assert {(row["name"], row["rows"]) for row in ROWS} <= timed


def test_each_figure_is_the_one_it_is_named_after(whole: Reached) -> None:
    """Ratios are taken the right way round, the worse of two counts, and a verdict is that of the bound's own side."""
    steps = {"fast": Steps(4e-3, 4.4e-3, 5e-3), "strict": Steps(5e-3, 5e-3, 1e-2)}
    made = Reached(12 * 10**9, **steps, crowd=whole.crowd, traces=(Trace(2.0, 3.4, 700.0), None))
    values = [figure.value for figure in figures(made, ROWS, Ceilings(4e12, 1e15))]
    assert values[:7] == pytest.approx([0.75, 1.1, 0.8, 2.0, whole.crowd.lost, 2.0, 700.0]) and values[7] is None
    targets = [target for target, _ in TARGETS]
    assert targets[0].met(0.75) and not targets[0].met(0.74) and targets[1].met(1.15) and not targets[1].met(1.16)
    assert all(str(rate) in target.name for target, rate in zip(targets[6:], (SLOW, QUICK), strict=True))
    told = printed([Figure(targets[0], 0.8), Figure(targets[1], 1.2)])
    assert "80%" in told and "met" in told and "missed" in told and f"{CROWD} at once" not in told


def printed(found: list[Figure]) -> str:
    """The table as text."""
    console = Console(file=io.StringIO(), width=200)
    console.print(table(found))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
