"""Tensors between walls of poison: whoever reads over the edge finds NaN, whoever writes over it is found out."""

from __future__ import annotations

import torch
from torch import Tensor

WALL = 64


def poison(dtype: torch.dtype) -> float | int | bool:
    """NaN, or the least number of a dtype that has none."""
    if dtype is torch.bool:
        return True
    return torch.nan if dtype.is_floating_point else torch.iinfo(dtype).min


def poisoned(values: Tensor) -> Tensor:
    """Where there is poison, and nothing else."""
    return values.isnan() if values.is_floating_point() else values == poison(values.dtype)


def walled(values: Tensor) -> Tensor:
    """The same values in memory that has poison on both sides."""
    whole = torch.full((values.numel() + 2 * WALL,), poison(values.dtype), dtype=values.dtype)
    inside = whole[WALL : WALL + values.numel()].view(values.shape)
    inside.copy_(values)
    return inside
