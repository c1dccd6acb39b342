"""Laws of the kernels that treat each row by itself: norm, gate of the feed-forward block, LoRA, rotary positions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.lora import gated_lora, gated_lora_reference
from kernels.norm import add_rms_norm, add_rms_norm_reference
from kernels.rotary import NOWHERE, rotate_and_keep, rotate_reference
from kernels.swiglu import silu_mul, silu_mul_reference
from tests.kernels.interpreted.walls import poisoned, walled

ROWS, WIDTHS, SEEDS = st.integers(1, 20), st.integers(1, 200), st.integers(0, 99)
FEW = settings(max_examples=6)


@FEW
@given(ROWS, WIDTHS, SEEDS)
def test_the_norm_is_its_definition(rows: int, width: int, seed: int) -> None:
    """The sum to the last bit, and the norm of the sum."""
    torch.manual_seed(seed)
    x, found, weight = walled(torch.randn(rows, width)), walled(torch.randn(rows, width)), walled(torch.randn(width))
    total, normed = add_rms_norm(x, found, weight, 1e-5)
    wanted_total, wanted = add_rms_norm_reference(x, found, weight, 1e-5)
    assert torch.equal(total, wanted_total)
    torch.testing.assert_close(normed, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@FEW
@given(ROWS, st.integers(1, 1500), SEEDS)
def test_the_gate_is_its_definition(rows: int, inner: int, seed: int) -> None:
    """silu of the front half times the back half, also where the exponential runs over."""
    torch.manual_seed(seed)
    opened = walled(torch.randn(rows, 2 * inner) * 40)
    torch.testing.assert_close(silu_mul(opened), silu_mul_reference(opened), rtol=1e-5, atol=1e-5)


@FEW
@given(ROWS, WIDTHS, st.integers(1, 40), WIDTHS, SEEDS)
def test_the_lora_is_its_definition(rows: int, inputs: int, rank: int, outputs: int, seed: int) -> None:
    """Rows that are on get the LoRA's share; rows that are off keep every bit, though their input be NaN."""
    torch.manual_seed(seed)
    gate = (torch.rand(rows) < 0.4).float()
    x, base = torch.randn(rows, inputs), torch.randn(rows, outputs)
    x[gate == 0] = torch.nan
    down, up = walled(torch.randn(rank, inputs)), walled(torch.randn(outputs, rank))
    wanted = gated_lora_reference(base, x, down, up, gate)
    found = walled(base)
    assert gated_lora(found, walled(x), down, up, walled(gate)) is found
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)
    assert torch.equal(found[gate == 0], base[gate == 0])


@FEW
@given(st.integers(1, 20), st.integers(1, 3), st.integers(1, 4), st.integers(1, 20), SEEDS)
def test_the_rotation_is_its_definition(rows: int, keys: int, folds: int, half: int, seed: int) -> None:
    """Queries and keys turn, queries are scaled, and keys and values lie in their slots and nowhere else."""
    torch.manual_seed(seed)
    projected = walled(torch.randn(rows, (folds + 2) * keys, 2 * half))
    turns, scales = walled(torch.randn(50, 2, half)), walled(torch.rand(50) + 1)
    position = walled(torch.randint(0, 50, (rows,), dtype=torch.int32))
    slot = torch.randperm(96, dtype=torch.int32)[:rows]
    slot[torch.rand(rows) < 0.4] = NOWHERE
    wanted_pages, pages = (walled(torch.full((3, 32, 2, keys, 2 * half), torch.nan)) for _ in range(2))
    wanted = rotate_reference(projected, turns, scales, position, slot, wanted_pages)
    found = rotate_and_keep(projected, turns, scales, position, walled(slot), pages)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(pages, wanted_pages, rtol=1e-5, atol=1e-5, equal_nan=True)
    written = slot[slot != NOWHERE].long()
    kept = torch.ones(96, dtype=torch.bool).index_fill(0, written, False)
    assert poisoned(pages.flatten(0, 1)[kept]).all() and not pages.flatten(0, 1)[written].isnan().any()
