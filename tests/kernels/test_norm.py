"""The quick norm is the norm."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels.norm import paired_rms_norm, rms_norm_reference


@given(st.integers(1, 40), st.integers(1, 130), st.floats(0.01, 100), st.integers(0, 1 << 30))
def test_the_pair_gives_the_definition(rows: int, size: int, spread: float, seed: int) -> None:
    """LayerNorm of (x, -x) is the root-mean-square norm of x within float32 rounding, at any width and magnitude."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, size, generator=generator) * spread + spread
    weight = torch.randn(size, generator=generator)
    torch.testing.assert_close(paired_rms_norm(x, weight, 1e-5), rms_norm_reference(x, weight, 1e-5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", [paired_rms_norm, rms_norm_reference])
def test_the_definition_by_hand(norm: object) -> None:
    """(3, 4) has the mean square 12.5."""
    assert callable(norm)
    found = norm(torch.tensor([[3.0, 4.0]]), torch.tensor([1.0, 2.0]), 0.0)
    torch.testing.assert_close(found, torch.tensor([[3.0, 8.0]]) / 12.5**0.5)
