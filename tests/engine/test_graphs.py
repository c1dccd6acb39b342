"""Recorded passes: what a shared layout holds, and that replaying one is running it.

No CUDA device is here, so `repeated` stands in for a graph: the same memory is read and written, by the definitions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import graphs
from engine.chain import Link
from engine.device import DevicePass, OnDevice
from engine.engine import Engine
from engine.graphs import Recorder, Recording
from engine.layout import PARTIALS_MOST, ROWS, DeviceRows, Layout, carried, tiles_of
from engine.numeric import STRICT
from engine.pages import PagePool
from engine.plan import Lora, Plan, Step, clean, noisy, quadratic
from engine.request import Mode, Numeric
from engine.sampling import Ask, Picks
from kernels.paged import CLEAN, SPLIT
from tests.bench.engine_laws import EngineLaws
from tests.engine.harness import asked, events_of, finished, loaded, model, output
from tests.engine.passes import repeated
from tests.engine.small import small_network
from tests.engine.test_plan import packed

CPU = torch.device("cpu")
MIXED: list[tuple[int, Step]] = [
    (70, clean((5, 9, 33))),
    (40, noisy((3, 100, 100, 100), Lora.ON)),
    (9, quadratic((4, 8), 100, Lora.ON)),
]


def recording(_: torch.device) -> Recorder:
    """Records by running again."""
    return repeated


class Counting:
    """Counts what is recorded and how often it runs again."""

    def __init__(self) -> None:
        self.made = self.again = 0

    def __call__(self, run: Any) -> Recording:
        self.made += 1
        made = repeated(run)

        def again() -> None:
            self.again += 1
            made.again()

        return Recording(again, made.result)


def a_pass(counting: Counting) -> DevicePass:
    """A small network whose passes are recorded."""
    policy = OnDevice(Numeric.STRICT, CPU, torch.float32, lambda _: counting)
    return DevicePass(small_network(layers=1), policy)


def picks(by: DevicePass, plan: Plan, pool: PagePool, asks: list[Ask]) -> list[Picks]:
    """What one pass alone picks."""
    (found,) = by([Link(plan, (), asks)], pool)
    return found


def of_rows(*counts: int, at: int = 3) -> Plan:
    """A plan of as many sequences, so many causal rows each, all `at` positions long."""
    return packed([(at, clean(range(2, 2 + count))) for count in counts])[0]


@pytest.mark.parametrize("mode", [Mode.AR, Mode.DIFFUSION, Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC])
def test_it_says_what_the_host_says(mode: Mode) -> None:
    """Greedy answers of every mode by recorded passes are those of the host's strict pass."""
    given = model()
    recorded = Engine(given, OnDevice(Numeric.STRICT, CPU, torch.float32, recording))
    for prompt in ((1, 5, 9), tuple(range(2, 72))):
        request = asked(mode, prompt=prompt)
        (said, wanted) = (events_of(engine, request)[request.id] for engine in (recorded, Engine(given, STRICT)))
        assert output(said) == output(wanted) and finished(said).forwards == finished(wanted).forwards


def test_the_laws_of_the_engine_hold_under_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speculation is lossless, company changes nothing, runs repeat and the LoRA drafts, whatever the room of a pass."""
    drafting, bare = (loaded(small_network(lora=lora)) for lora in (True, False))
    counting = Counting()
    monkeypatch.setattr(
        "tests.bench.engine_laws.OnDevice", lambda numeric, device, dtype: OnDevice(numeric, device, dtype, lambda _: counting)
    )
    assert [law.broken() for law in EngineLaws(drafting, bare, CPU, torch.float32, 12).all()] == [None] * 4
    assert counting.again > 4 * counting.made > 0


def test_a_recorded_pass_is_the_exact_one() -> None:
    """In a layout with room to spare, picks, log-probabilities and pages are bit for bit those of the layout that just fits."""
    plan, pool, _ = packed(MIXED)
    _, other, _ = packed(MIXED)
    asks = [Ask(len(plan.wanted), 0.0, 0)]
    exact = DevicePass(small_network(layers=1), OnDevice(Numeric.STRICT, CPU, torch.float32))
    (wanted,), (found,) = picks(exact, plan, other, asks), picks(a_pass(Counting()), plan, pool, asks)
    assert (found.ids, found.logprob) == (wanted.ids, wanted.logprob)
    assert pool.kv.equal(other.kv)


def test_a_plan_comes_back_from_what_is_told() -> None:
    """The fields of a plan are where both layouts say, and what is left of the room is inert."""
    plan = packed(MIXED)[0]
    exact = Layout.of(plan, tiles_of(plan))
    roomy = exact.roomy()
    assert roomy is not None
    rows, tiles = len(plan.token), exact.tiles
    for layout in (exact, roomy):
        told = DeviceRows.of(layout, torch.from_numpy(layout.told(plan, tiles_of(plan))))
        assert told.gate is not None and told.gate.sum() == 4 + 4
        for found, wanted in (
            (told.token, plan.token), (told.position, plan.position), (told.slot, plan.slot),
            (told.seen.limit, plan.limit), (told.wanted, plan.wanted),
        ):  # fmt: skip
            np.testing.assert_array_equal(found[: len(wanted)].numpy(), wanted)
        width = min(plan.tables.shape[1], layout.pages)
        np.testing.assert_array_equal(told.seen.tables[: len(plan.tables), :width].numpy(), plan.tables[:, :width])
        assert (told.slot[rows:] == -1).all() and (told.seen.group[rows:] == CLEAN).all()
        assert not told.seen.limit[rows:].any() and not told.seen.tiles[tiles:].any() and not told.gate[rows:].any()


def test_every_field_begins_where_a_kernel_reads_at_once() -> None:
    """Fields begin at multiples of 16 bytes, so that no plan asks for a kernel of its own."""
    plan = packed(MIXED)[0]
    layout = Layout.of(plan, tiles_of(plan))
    flat = torch.from_numpy(layout.told(plan, tiles_of(plan)))
    assert all((part.data_ptr() - flat.data_ptr()) % 16 == 0 for part in layout.parts(flat))
    assert len(flat) == layout.size


def test_plans_of_about_a_size_share_a_recording() -> None:
    """Three, four and two sequences of a row make two recordings over a pool of pages, and each plan runs by one of them."""
    counting = Counting()
    recorded, pool = a_pass(counting), packed([(3, clean((1,)))] * 4)[1]
    for counts in ((1, 1, 1), (1, 1, 1, 1), (1, 1), (1, 1, 1)):
        plan = of_rows(*counts)
        picks(recorded, plan, pool, [Ask(len(plan.wanted), 0.0, 0)])
    assert (counting.made, counting.again) == (2, 4)
    plan, other, _ = packed([(3, clean((1,)))])
    picks(recorded, plan, other, [Ask(1, 0.0, 0)])
    assert counting.made == 3


def test_what_is_too_large_runs_as_it_is() -> None:
    """A prefill of more rows than any layout has, and rows that look far back, are not recorded."""
    plan = of_rows(1, 1)
    exact = Layout.of(plan, tiles_of(plan))
    assert exact.roomy() == Layout(2, 2, 2, 2, SPLIT // 32, SPLIT, False)
    rows = ROWS[-1]
    assert Layout(rows + 1, 1, 40, 1, 40, 1100, False).roomy() is None
    assert Layout(rows, 1, 40, 1, 40, 8 * SPLIT, False).roomy() is not None
    far = Layout(rows, 1, 40, 1, 800, 20 * SPLIT, False)
    assert far.roomy() is None and rows * 33 > PARTIALS_MOST


@pytest.mark.parametrize("most", [3, 40, 80])
def test_attention_in_pieces_is_attention(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """What has too many partials for one attention goes piece by piece, with the same bits."""
    steps = [*MIXED, (5, noisy((3, 100), Lora.OFF)), (300, clean(range(2, 72)))]
    plan, pool, _ = packed(steps)
    _, other, _ = packed(steps)
    asks = [Ask(len(plan.wanted), 0.0, 0)]
    policy = OnDevice(Numeric.STRICT, CPU, torch.float32)
    (wanted,) = picks(DevicePass(small_network(), policy), plan, pool, asks)
    monkeypatch.setattr("engine.layout.PARTIALS_MOST", 2 * most)
    cuts = Layout.of(plan, tiles_of(plan)).cuts
    assert sum(rows for _, rows in cuts) == len(plan.token) and len(cuts) > 1
    assert all(rows <= most or tiles == 1 for tiles, rows in cuts)
    (found,) = picks(DevicePass(small_network(), policy), plan, other, asks)
    assert (found.ids, found.logprob) == (wanted.ids, wanted.logprob)
    assert other.kv.equal(pool.kv)


def test_the_longest_unused_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many recordings are kept, and one that is used again stays."""
    monkeypatch.setattr(graphs, "KEPT", 2)
    counting = Counting()
    recorded, pool = a_pass(counting), packed([(3, clean((1,)))] * 8)[1]

    def made(*counts: int) -> int:
        plan = of_rows(*counts)
        picks(recorded, plan, pool, [Ask(len(plan.wanted), 0.0, 0)])
        return counting.made

    assert [made(1), made(1, 1), made(1), made(1, 1, 1), made(1), made(1, 1)] == [1, 2, 2, 3, 3, 4]


def test_recordings_do_not_outlive_the_tables_they_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the tables of positions grow, the passes that read them where they lay are recorded anew."""
    monkeypatch.setattr("engine.model.rope.CHUNK", 64)
    counting = Counting()
    recorded, pool = a_pass(counting), packed([(1, clean((1,)))] * 300)[1]
    near, far = of_rows(1), of_rows(1, at=300)
    made = []
    for plan in (near, near, far, near):  # all of one layout
        picks(recorded, plan, pool, [Ask(1, 0.0, 0)])
        made.append(counting.made)
    assert made == [1, 1, 2, 2]


@given(
    st.lists(st.tuples(st.sampled_from(["i4", "i8", "f4", "?"]), st.integers(0, 9), st.integers(1, 3)), min_size=1, max_size=6)
)
def test_what_is_carried_together_arrives_as_it_was(shapes: list[tuple[str, int, int]]) -> None:
    """Arrays of any kinds keep shape, kind and bits, each at its own 16 bytes, in one piece of memory."""
    arrays = [(np.arange(rows * width).reshape(rows, width) % 2 * 3).astype(kind) for kind, rows, width in shapes]
    found = carried(arrays, torch.device("cpu"))
    for there, own in zip(found, arrays, strict=True):
        assert np.array_equal(there.numpy(), own) and there.numpy().dtype == own.dtype
    assert len({there.untyped_storage().data_ptr() for there in found}) == 1
    assert all((there.data_ptr() - found[0].data_ptr()) % 16 == 0 for there in found if there.numel())
