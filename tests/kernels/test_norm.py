"""The norm is what its name says."""

from __future__ import annotations

import torch

from kernels.norm import rms_norm_reference


def test_the_definition_by_hand() -> None:
    """(3, 4) has the mean square 12.5."""
    found = rms_norm_reference(torch.tensor([[3.0, 4.0]]), torch.tensor([1.0, 2.0]), 0.0)
    torch.testing.assert_close(found, torch.tensor([[3.0, 8.0]]) / 12.5**0.5)
