"""Laws of the plan: who sees whom, and where rows lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from engine.attend import GroupedAttention, TiledAttention
from engine.cache import KVCache
from engine.pages import PAGE, PagePool
from engine.plan import NO_SLOT, Flag, Lora, Plan, Step, Want, ahead, clean, noisy, quadratic
from kernels.attention import attention_reference
from kernels.linear import TILE
from tests.engine.harness import snapshot
from tests.engine.small import small_config

CONFIG = small_config()

STEPS = st.one_of(
    st.builds(lambda n, want: clean((5,) * n, want), st.sampled_from((1, 2, 5, 31, 32, 33, 70)), st.sampled_from(Want)),
    st.builds(lambda n, lora: noisy((3,) * n, lora), st.integers(1, 32), st.sampled_from(Lora)),
    st.builds(lambda n, at: noisy((3,) * n, Lora.OFF, only=tuple(range(at, n, 2))), st.integers(3, 32), st.integers(0, 2)),
    st.builds(lambda n, lora: quadratic((4,) * n, 100, lora), st.integers(1, 9), st.sampled_from(Lora)),
    st.builds(lambda n, size: ahead(clean((6,) * n), size, 100), st.integers(1, 70), st.integers(1, 32)),
)
JOBS = st.lists(st.tuples(st.integers(1, 600), STEPS), min_size=1, max_size=5)


def scattered(pool: PagePool, filled: int, rows: int) -> KVCache:
    """A cache with `filled` positions whose pages lie anywhere in the pool, out of order."""
    cache = KVCache(pool, b"")
    taken = pool.take(-(-(filled + rows) // PAGE)) or []
    cache.pages = [taken[place] for place in np.random.default_rng(filled).permutation(len(taken)).tolist()]
    cache.filled = filled
    return cache


def packed(jobs: list[tuple[int, Step]], multiple: int = 1) -> tuple[Plan, PagePool, list[KVCache]]:
    """A plan over a pool full of random keys and values."""
    pool = PagePool(CONFIG, 120, torch.float32)
    pool.kv.normal_(generator=torch.Generator().manual_seed(len(jobs)))
    caches = [scattered(pool, filled, step.frame.clean) for filled, step in jobs]
    steps = [(cache, step) for cache, (_, step) in zip(caches, jobs, strict=True)]
    return Plan.pack(steps, lambda rows: -(-rows // multiple) * multiple), pool, caches


def seen(step: Step) -> NDArray[np.bool_]:
    """The rule among the new rows of one sequence as a person would read it aloud, row by row."""
    _, group, flags, _ = step.frame.rows.tolist()
    size = step.frame.size
    table = np.zeros((size, size), dtype=np.bool_)
    for q in range(size):
        for k in range(size):
            if flags[k] & Flag.NOISY:
                table[q, k] = bool(flags[q] & Flag.NOISY) and group[k] == group[q]
            else:
                table[q, k] = group[k] <= group[q]
    return table


def by_definition(plan: Plan, pool: PagePool, caches: list[KVCache], jobs: list[tuple[int, Step]], rotated: Tensor) -> Tensor:
    """Plain attention of each row over its committed prefix and the new rows that the rule lets it see."""
    heads, found, start = CONFIG.num_attention_heads, [], 0
    for cache, (filled, step) in zip(caches, jobs, strict=True):
        own = rotated[start : start + step.frame.size]
        fresh = own[:, heads:].reshape(len(own), 2, -1, CONFIG.head_dim)
        keys = torch.cat((snapshot(cache)[0], fresh))
        visible = np.concatenate((np.ones((len(own), filled), dtype=np.bool_), seen(step)), axis=1)
        found.append(attention_reference(own[:, :heads], keys[:, 0], keys[:, 1], torch.from_numpy(visible)).flatten(1))
        start += step.frame.size
    return torch.cat(found)


@settings(max_examples=40)
@given(JOBS)
def test_limits_and_neighbours_are_the_rule(jobs: list[tuple[int, Step]]) -> None:
    """A row's limit counts the prefix and the clean rows that it may see; `beside` is the rule among noisy rows."""
    plan, _, _ = packed(jobs)
    start = 0
    for filled, step in jobs:
        table, frame = seen(step), step.frame
        limit = plan.limit[start : start + frame.size]
        assert (limit == filled + table[:, : frame.clean].sum(1)).all()
        for row in range(frame.size):
            assert table[row, : limit[row] - filled].all()
        assert (frame.beside == table[:, frame.clean :]).all()
        start += frame.size


@pytest.mark.parametrize(("attention", "multiple"), [(GroupedAttention, 1), (GroupedAttention, 16), (TiledAttention, TILE)])
@settings(max_examples=25)
@given(jobs=JOBS)
def test_attention_obeys_the_rule(
    attention: type[GroupedAttention] | type[TiledAttention], multiple: int, jobs: list[tuple[int, Step]]
) -> None:
    """Both attentions are plain attention over prefix and visible rows, for any mixture, wherever the pages lie."""
    plan, pool, caches = packed(jobs, multiple)
    rotated = torch.randn(len(plan.token), 8, 16, generator=torch.Generator().manual_seed(1))
    wanted = by_definition(plan, pool, caches, jobs, rotated)
    found = attention(plan, pool)(0, rotated)
    torch.testing.assert_close(found[: len(wanted)], wanted, rtol=1e-4, atol=1e-5)


@settings(max_examples=25)
@given(jobs=JOBS)
def test_only_clean_rows_are_written_and_only_to_their_slots(jobs: list[tuple[int, Step]]) -> None:
    """A pass changes the slots of its clean rows, with their own keys and values, and no other byte of the pool."""
    plan, pool, caches = packed(jobs, TILE)
    before = pool.kv.clone()
    rotated = torch.randn(len(plan.token), 8, 16)
    TiledAttention(plan, pool)(0, rotated)
    wanted, start = before, 0
    for cache, (filled, step) in zip(caches, jobs, strict=True):
        for row in range(step.frame.clean):
            page, offset = divmod(filled + row, PAGE)
            wanted[0, cache.pages[page], offset] = rotated[start + row, 4:].view(2, 2, 16)
        start += step.frame.size
    assert torch.equal(pool.kv, wanted)


def test_quadratic_layout() -> None:
    """B drafts, then B groups of B masks: positions, groups and slots of the worked example."""
    plan, _, caches = packed([(10, quadratic((7, 8), 100, Lora.ON))])
    first = caches[0].pages[0] * PAGE
    assert plan.token.tolist() == [7, 8, 100, 100, 100, 100]
    assert plan.position.tolist() == [10, 11, 11, 12, 12, 13]
    assert plan.field(1).tolist() == [0, 1, 0, 0, 1, 1]
    assert plan.slot.tolist() == [first + 10, first + 11, *[NO_SLOT] * 4]
    assert plan.limit.tolist() == [11, 12, 11, 11, 12, 12]
    assert plan.wanted.tolist() == [0, 1, 3, 5]
    assert plan.picks.tolist() == [11, 12, 12, 13]
    assert plan.groups[0].frame.beside.astype(int).tolist() == [
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [0, 0, 1, 1],
        [0, 0, 1, 1],
    ]


def test_ahead_layout() -> None:
    """Causal rows, then one group of masks from the place on that the last of them picks for."""
    plan, _, caches = packed([(10, ahead(clean((7, 8), Want.LAST), 3, 100))])
    first = caches[0].pages[0] * PAGE
    assert plan.token.tolist() == [7, 8, 100, 100, 100]
    assert plan.position.tolist() == [10, 11, 12, 13, 14]
    assert plan.field(1).tolist() == [0, 1, 1, 1, 1]
    assert plan.slot.tolist() == [first + 10, first + 11, *[NO_SLOT] * 3]
    assert plan.limit.tolist() == [11, 12, 12, 12, 12]
    assert plan.wanted.tolist() == [1, 3, 4]
    assert plan.picks.tolist() == [12, 13, 14]
    assert plan.groups[0].frame.beside.astype(int).tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 1], [1, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize(("want", "rows"), [(Want.NONE, []), (Want.LAST, [2]), (Want.ALL, [0, 1, 2])])
def test_wanted_rows(want: Want, rows: list[int]) -> None:
    """Only the rows asked for are projected to the vocabulary, and each speaks of the position after its own."""
    plan, _, _ = packed([(4, clean((1, 2, 3), want))])
    assert plan.wanted.tolist() == rows and plan.picks.tolist() == [5 + row for row in rows]


def test_rows_that_are_asked_for_alone() -> None:
    """A step may want fewer rows than its frame has; those beside it in one group want theirs."""
    plan, _, _ = packed([(4, noisy((1, 2, 3), Lora.OFF)), (9, noisy((4, 5, 6), Lora.OFF, only=(1, 2)))])
    assert len(plan.groups) == 1
    assert plan.wanted.tolist() == [0, 1, 2, 4, 5] and plan.picks.tolist() == [4, 5, 6, 10, 11]


@pytest.mark.parametrize(
    ("step", "gate"),
    [
        (clean((1, 2)), [0, 0]),
        (noisy((1, 2), Lora.OFF), [0, 0]),
        (noisy((1, 2), Lora.ON), [1, 1]),
        (quadratic((1, 2), 100, Lora.ON), [0, 0, 1, 1, 1, 1]),
        (ahead(clean((1, 2)), 2, 100), [0, 0, 1, 1]),
    ],
)
def test_the_lora_gate_is_data(step: Step, gate: list[int]) -> None:
    """The drafter LoRA touches noisy rows that ask for it, and never a row whose keys are kept."""
    plan, _, _ = packed([(3, step)])
    assert ((plan.field(2) & Flag.LORA) != 0).astype(int).tolist() == gate
    assert plan.lora == any(gate)


@settings(max_examples=25)
@given(jobs=JOBS, multiple=st.sampled_from((1, TILE)))
def test_padding_is_inert(jobs: list[tuple[int, Step]], multiple: int) -> None:
    """Rows are padded to whole tiles; a padding row has no slot, no limit, no flag, and nobody wants its logits."""
    plan, _, _ = packed(jobs, multiple)
    rows = sum(step.frame.size for _, step in jobs)
    assert len(plan.token) % multiple == 0 and rows <= len(plan.token) < rows + multiple
    assert (plan.slot[rows:] == NO_SLOT).all() and not plan.limit[rows:].any() and not plan.field(2)[rows:].any()
    assert (plan.wanted < rows).all()


def test_equal_frames_stand_in_one_group() -> None:
    """Neighbouring steps of one shape share a group, so that attention never walks single sequences."""
    plan, _, _ = packed([(3, clean((1,))), (9, clean((2,))), (4, noisy((1, 2), Lora.ON)), (5, clean((3,)))])
    assert [(group.start, group.count, group.sequence) for group in plan.groups] == [(0, 2, 0), (2, 1, 2), (4, 1, 3)]
