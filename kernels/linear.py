"""Linear products whose rows cannot feel each other.

A library matmul picks its blocking, and with it the order of a sum, from the number of rows: in float32 one row alone and the
same row among 32 differ in the last bits. Here every product is made in tiles of a fixed number of rows, the last one padded
with zeros, so the bits of a row depend on that row and the weight alone. `tests/kernels/test_linear.py` checks this.

On a CUDA device the inputs are cut into slices, as many as the weight's own shape asks for, so that a lone row keeps a whole
device busy; a second kernel adds the slices in order. How many rows there are changes nothing but the number of programs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.jit import Build, jit, room, runs, tl

TILE = 32
DEVICE_TILE, COLUMNS, DEPTH = 64, 64, 64
"""Rows, columns and inputs of one step of a program on a device; 64 rows are the least that its widest product takes."""
PROGRAMS = 512
"""How many programs a lone row should become: a few for each of some 130 processors."""


def padded_rows(rows: int) -> int:
    """The least multiple of `TILE` that holds `rows`, at least one tile."""
    return max(1, -(-rows // TILE)) * TILE


def linear_reference(x: Tensor, weight: Tensor) -> Tensor:
    """The definition: x [..., K] times weight [N, K] transposed, [..., N]."""
    return torch.einsum("...k,nk->...n", x, weight)


@jit
def _product(
    x: tl.tensor,
    weight: tl.tensor,
    out: tl.tensor,
    rows: tl.tensor,
    inputs: tl.constexpr,
    outputs: tl.constexpr,
    share: tl.constexpr,
    tile: tl.constexpr,
    columns: tl.constexpr,
    depth: tl.constexpr,
) -> None:
    # One slice of `share` inputs for one tile; `out` is [slices, rows, outputs].
    row = tl.program_id(0) * tile + tl.arange(0, tile)
    column = tl.program_id(1) * columns + tl.arange(0, columns)
    part = tl.program_id(2)
    x_rows, weight_rows = x + row.to(tl.int64)[:, None] * inputs, weight + column.to(tl.int64)[None, :] * inputs
    total = tl.zeros([tile, columns], tl.float32)
    for start in range(0, share, depth):
        inner = part * share + start + tl.arange(0, depth)
        there = inner < inputs
        left = tl.load(x_rows + inner[None, :], mask=(row < rows)[:, None] & there[None, :], other=0.0)
        right = tl.load(weight_rows + inner[:, None], mask=(column < outputs)[None, :] & there[:, None], other=0.0)
        total += tl.dot(left, right, input_precision="ieee")
    place = (part.to(tl.int64) * rows + row)[:, None] * outputs + column[None, :]
    tl.store(out + place, total.to(out.dtype.element_ty), mask=(row < rows)[:, None] & (column < outputs)[None, :])


@jit
def _added(
    parts: tl.tensor, out: tl.tensor, rows: tl.tensor, outputs: tl.constexpr, slices: tl.constexpr, block: tl.constexpr
) -> None:
    row, column = tl.program_id(0).to(tl.int64), tl.program_id(1) * block + tl.arange(0, block)
    total = tl.zeros([block], tl.float32)
    for part in range(slices):
        total += tl.load(parts + (part * rows + row) * outputs + column, mask=column < outputs, other=0.0)
    tl.store(out + row * outputs + column, total.to(out.dtype.element_ty), mask=column < outputs)


def slices(inputs: int, outputs: int) -> int:
    """Into how many slices the inputs of a weight are cut: a power of two, none shorter than four steps."""
    wanted = room(-(-PROGRAMS // -(-outputs // COLUMNS)))
    most = max(1, inputs // (4 * DEPTH))
    return min(wanted, 1 << (most.bit_length() - 1))


def builds(inputs: int, outputs: int) -> tuple[Build, Build]:
    """The product and the addition of its slices, for a weight of this shape."""
    cut = slices(inputs, outputs)
    share = -(-inputs // (cut * DEPTH)) * DEPTH
    tiled = {"tile": DEVICE_TILE, "columns": COLUMNS, "depth": DEPTH}
    product = Build(_product, {"inputs": inputs, "outputs": outputs, "share": share, **tiled}, warps=4, stages=4)
    return product, Build(_added, {"outputs": outputs, "slices": cut, "block": _sum_block(outputs)})


def _sum_block(outputs: int) -> int:
    """How many columns of the slices one program adds."""
    return min(1024, room(outputs))


def kernel_linear(x: Tensor, weight: Tensor) -> Tensor:
    """x [..., K] times weight [N, K] transposed -> [..., N] by the kernels, the same bits for a row in any company."""
    outputs, inputs = weight.shape
    flat = x.reshape(-1, inputs).contiguous()
    rows, cut = flat.shape[0], slices(inputs, outputs)
    product, added = builds(inputs, outputs)
    out = torch.empty(rows, outputs, dtype=x.dtype, device=x.device)
    parts = out if cut == 1 else torch.empty(cut, rows, outputs, dtype=torch.float32, device=x.device)
    product.launch((-(-rows // DEVICE_TILE), -(-outputs // COLUMNS), cut), flat, weight, parts, rows)
    if cut > 1:
        added.launch((rows, -(-outputs // _sum_block(outputs))), parts, out, rows)
    return out.reshape(*x.shape[:-1], outputs)


def tiled_linear(x: Tensor, weight: Tensor) -> Tensor:
    """x [..., K] times weight [N, K] transposed -> [..., N], the same bits for a row wherever it stands."""
    if runs(x):
        return kernel_linear(x, weight)
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
