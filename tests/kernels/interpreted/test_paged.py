"""Laws of the paged attention, over plans that the engine packs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.attend import TiledAttention
from engine.pages import PagePool
from engine.plan import Lora, Plan, Step, Want, clean, noisy, quadratic
from kernels.paged import Rows, kernel_attention, paged_attention, paged_attention_reference
from tests.engine.test_plan import packed
from tests.kernels.interpreted.planned import rows_of
from tests.kernels.interpreted.walls import walled

SPAN = 128
STEPS = st.one_of(
    st.builds(lambda n: clean((5,) * n), st.integers(1, 5)),
    st.builds(lambda n: noisy((3,) * n, Lora.ON), st.integers(1, 8)),
    st.builds(lambda n: quadratic((4,) * n, 100, Lora.ON), st.integers(1, 3)),
)
JOBS = st.lists(st.tuples(st.integers(1, 300), STEPS), min_size=1, max_size=2)


def projected(plan: Plan, pool: PagePool, seed: int = 0) -> Tensor:
    """Random queries, keys and values for the rows of a plan whose clean ones are in their pages already."""
    _, _, _, _, keys, size = pool.kv.shape
    heads = pool.config.num_attention_heads + 2 * keys
    fresh = torch.randn(len(plan.token), heads, size, generator=torch.Generator().manual_seed(seed))
    written = plan.written()
    rows = torch.arange(len(plan.token)) if written is None else torch.from_numpy(written)
    flat = pool.kv[0].flatten(0, 1)
    flat[torch.from_numpy(plan.slot)[rows]] = fresh[rows, -2 * keys :].reshape(-1, 2, keys, size)
    return fresh


@settings(max_examples=3)
@given(JOBS)
def test_the_kernel_is_the_rule(jobs: list[tuple[int, Step]]) -> None:
    """Every row of any mix of steps gets what the definition and the engine's own attention give it; padding gets 0."""
    plan, pool, _ = packed(sorted(jobs, key=lambda job: id(job[1].frame)), multiple=4)
    fresh, rows = projected(plan, pool), rows_of(plan)
    found = kernel_attention(walled(fresh), walled(pool.kv[0]), rows, SPAN)
    torch.testing.assert_close(found, paged_attention_reference(fresh, pool.kv[0], rows), rtol=1e-4, atol=1e-5)
    real = plan.groups[-1].rows.stop
    torch.testing.assert_close(found[:real], TiledAttention(plan, pool)(0, fresh)[:real], rtol=1e-4, atol=1e-5)
    assert not found[real:].any()


@pytest.mark.parametrize(("queries", "keys", "size"), [(3, 1, 8), (2, 2, 33)])
def test_odd_heads_are_heads(queries: int, keys: int, size: int) -> None:
    """Head counts and head sizes that fill no tile give the definition, with nothing read over the edge."""
    torch.manual_seed(size)
    fresh, pages = walled(torch.randn(6, queries + 2 * keys, size)), walled(torch.randn(4, 32, 2, keys, size))
    limit, group, tiles, tables = (
        walled(torch.tensor(field, dtype=torch.int32))
        for field in ([40, 41, 60, 60, 60, 0], [-1, -1, 0, 0, 2, -1], [[0, 2, 1], [2, 3, 0]], [[3, 1], [2, 0]])
    )
    rows = Rows(limit, group, tiles, tables, 60)
    wanted = paged_attention_reference(fresh, pages, rows)
    torch.testing.assert_close(kernel_attention(fresh, pages, rows, SPAN), wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(paged_attention(fresh, pages, rows), wanted, rtol=1e-4, atol=1e-5)


def test_a_row_does_not_feel_its_company() -> None:
    """A row decoded alone has the bits that it has in a verified block, in a prefill chunk and beside other sequences."""
    plan, pool, caches = packed([(150, clean((5,) * 34, Want.ALL)), (190, noisy((3,) * 2, Lora.OFF))])
    fresh = projected(plan, pool)
    together = kernel_attention(fresh, pool.kv[0], rows_of(plan), SPAN)
    for row in (0, 33):
        caches[0].filled = 150 + row
        alone = Plan.pack([(caches[0], clean((5,)))])
        assert torch.equal(kernel_attention(fresh[row, None], pool.kv[0], rows_of(alone), SPAN)[0], together[row])


def test_noisy_rows_do_not_feel_their_company() -> None:
    """A group of noisy rows behind its drafts has the bits that it has with the later groups left out and poison beside it."""
    plan, pool, _ = packed([(70, quadratic((4,) * 3, 100, Lora.ON)), (20, noisy((3,) * 4, Lora.ON))])
    fresh = projected(plan, pool)
    rows = rows_of(plan)
    together = kernel_attention(fresh, pool.kv[0], rows, SPAN)
    fresh[9:] = torch.nan
    cut = Rows(rows.limit[:9], rows.group[:9], torch.tensor([[0, 3, 0], [3, 6, 0]], dtype=torch.int32), rows.tables, 73)
    assert torch.equal(kernel_attention(fresh[:9].contiguous(), pool.kv[0], cut, SPAN), together[:9])


def test_hidden_keys_do_not_matter() -> None:
    """Whatever finite numbers stand above a row's limit, its bits are the same."""
    plan, pool, caches = packed([(77, clean((5,)))])
    fresh, rows = projected(plan, pool), rows_of(plan)
    before = kernel_attention(fresh, pool.kv[0], rows, SPAN)
    pages = pool.kv[0].clone()
    pages[caches[0].pages[2], 78 % 32 :] = 1e6
    assert torch.equal(kernel_attention(fresh, pages, rows, SPAN), before)
