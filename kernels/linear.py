"""Linear products whose rows cannot feel each other.

A library matmul picks its blocking, and with it the order of a sum, from the number of rows: in float32 one row alone and the
same row among 32 differ in the last bits. Here every product is made in tiles of exactly `TILE` rows, the last one padded with
zeros, so the bits of a row depend on that row and the weight alone. `tests/kernels/test_linear.py` checks this.
"""

from __future__ import annotations

import torch
from torch import Tensor

TILE = 32


def padded_rows(rows: int) -> int:
    """The least multiple of `TILE` that holds `rows`, at least one tile."""
    return max(1, -(-rows // TILE)) * TILE


def linear_reference(x: Tensor, weight: Tensor) -> Tensor:
    """The definition: x [..., K] times weight [N, K] transposed, [..., N]."""
    return torch.einsum("...k,nk->...n", x, weight)


def tiled_linear(x: Tensor, weight: Tensor) -> Tensor:
    """x [..., K] times weight [N, K] transposed -> [..., N], the same bits for a row wherever it stands."""
    if x.ndim == 2 and x.shape[0] == TILE:
        return torch.mm(x, weight.t())
    flat = x.reshape(-1, x.shape[-1])
    rows, wide = flat.shape[0], weight.shape[0]
    padded = padded_rows(rows)
    flat = torch.nn.functional.pad(flat, (0, 0, 0, padded - rows))
    out = flat.new_empty(padded, wide)
    for start in range(0, padded, TILE):
        torch.mm(flat[start : start + TILE], weight.t(), out=out[start : start + TILE])
    return out[:rows].reshape(*x.shape[:-1], wide)
