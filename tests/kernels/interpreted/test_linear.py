"""Laws of the fixed-order product."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import linear
from kernels.linear import kernel_linear, linear_reference, slices, tiled_linear
from tests.kernels.interpreted.walls import walled

SIZES = st.integers(1, 150)


@settings(max_examples=6)
@given(SIZES, st.integers(1, 700), SIZES, st.integers(0, 99))
def test_the_product_is_its_definition(rows: int, inputs: int, outputs: int, seed: int) -> None:
    """Any number of rows, inputs and outputs, cut into slices or not."""
    torch.manual_seed(seed)
    x, weight = walled(torch.randn(rows, inputs)), walled(torch.randn(outputs, inputs))
    torch.testing.assert_close(kernel_linear(x, weight), linear_reference(x, weight), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("inputs", "outputs"), [(200, 70), (1100, 65)])
def test_a_row_does_not_feel_its_company(inputs: int, outputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row's bits alone are its bits at any place beside any number of others, a row of NaN included."""
    # By numpy's product the interpreter stands in for a GPU's; on some processors that one sums by a row's place in its tile.
    monkeypatch.setattr("numpy.matmul", lambda a, b, **_: np.einsum("ij,jk->ik", a, b))
    torch.manual_seed(inputs)
    weight, row = torch.randn(outputs, inputs), torch.randn(inputs)
    alone = kernel_linear(row[None], weight)[0]
    for rows, place in ((2, 1), (64, 63), (65, 64)):
        others = torch.randn(rows, inputs) * 100
        others[place - 1] = torch.nan
        others[place] = row
        assert torch.equal(kernel_linear(others, weight)[place], alone)


def test_slices_are_a_function_of_the_weight() -> None:
    """Small weights stay whole, large ones are cut into a power of two, and slices hold every input once."""
    assert [slices(*shape) for shape in ((64, 64), (600, 100), (4096, 4096), (14336, 4096), (4096, 28672))] == [1, 2, 8, 8, 2]
    for inputs in (64, 600, 1100, 4097):
        product, _ = linear.builds(inputs, 64)
        cut, share = slices(inputs, 64), product.constants["share"]
        assert cut * share >= inputs and share % linear.DEPTH == 0


def test_the_door_opens_on_the_kernel() -> None:
    """Where a kernel can run it is what the door gives, with leading dimensions, none included."""
    x, weight = torch.randn(2, 5, 40), torch.randn(20, 40)
    assert torch.equal(tiled_linear(x, weight), kernel_linear(x, weight))
    assert tiled_linear(torch.zeros(0, 40), weight).shape == (0, 20)
    half = x.to(torch.bfloat16)[0]
    torch.testing.assert_close(tiled_linear(half, weight.to(torch.bfloat16)), half @ weight.to(torch.bfloat16).t())


def test_a_tensor_out_of_order_is_refused() -> None:
    """A kernel that would read other memory than it was given says so instead."""
    with pytest.raises(ValueError, match="contiguous"):
        kernel_linear(torch.randn(2, 40), torch.randn(40, 20).t())
