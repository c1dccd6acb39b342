"""The drafter's LoRA (Hu et al. 2021), gated by row: drafting and verifying rows share one pass and one captured graph.

A gate of 0 leaves a row as it was, to the last bit; a tile of such rows reads no weight.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.jit import Build, jit, room, runs, tl

TILE, COLUMNS, DEPTH = 16, 64, 128


def gated_lora_reference(base: Tensor, x: Tensor, down: Tensor, up: Tensor, gate: Tensor) -> Tensor:
    """The definition: base [R, N] + gate [R] * (x [R, K] down^T [K, r]) up^T [r, N], the scale being part of `up`."""
    return torch.where(gate[:, None] != 0, base + gate[:, None] * (x @ down.t() @ up.t()), base)


@jit
def _down(
    x: tl.tensor,
    down: tl.tensor,
    gate: tl.tensor,
    inner: tl.tensor,
    rows: tl.tensor,
    inputs: tl.constexpr,
    rank: tl.constexpr,
    tile: tl.constexpr,
    columns: tl.constexpr,
    depth: tl.constexpr,
) -> None:
    row = tl.program_id(0) * tile + tl.arange(0, tile)
    column = tl.program_id(1) * columns + tl.arange(0, columns)
    weight = tl.load(gate + row, mask=row < rows, other=0.0)
    if tl.max(tl.abs(weight), 0) > 0:
        total = tl.zeros([tile, columns], tl.float32)
        for start in range(0, inputs, depth):
            lane = start + tl.arange(0, depth)
            there = lane < inputs
            left = x + row.to(tl.int64)[:, None] * inputs + lane[None, :]
            right = down + column[None, :] * inputs + lane[:, None]
            total += tl.dot(
                tl.load(left, mask=(row < rows)[:, None] & there[None, :], other=0.0),
                tl.load(right, mask=(column < rank)[None, :] & there[:, None], other=0.0),
                input_precision="ieee",
            )
        place = row[:, None] * rank + column[None, :]
        tl.store(inner + place, total.to(inner.dtype.element_ty), mask=(row < rows)[:, None] & (column < rank)[None, :])


@jit
def _up(
    base: tl.tensor,
    inner: tl.tensor,
    up: tl.tensor,
    gate: tl.tensor,
    rows: tl.tensor,
    outputs: tl.constexpr,
    rank: tl.constexpr,
    rank_room: tl.constexpr,
    tile: tl.constexpr,
    columns: tl.constexpr,
) -> None:
    row = tl.program_id(0) * tile + tl.arange(0, tile)
    column = tl.program_id(1) * columns + tl.arange(0, columns)
    weight = tl.load(gate + row, mask=row < rows, other=0.0)
    if tl.max(tl.abs(weight), 0) > 0:
        lane = tl.arange(0, rank_room)
        there, on = lane < rank, (row < rows) & (weight != 0)
        # A row that is off has nothing in `inner`, and may not let it into a product.
        left = tl.load(inner + row[:, None] * rank + lane[None, :], mask=on[:, None] & there[None, :], other=0.0)
        right = up + column[None, :] * rank + lane[:, None]
        right = tl.load(right, mask=(column < outputs)[None, :] & there[:, None], other=0.0)
        added = weight.to(tl.float32)[:, None] * tl.dot(left, right, input_precision="ieee")
        place = base + row.to(tl.int64)[:, None] * outputs + column[None, :]
        mask = on[:, None] & (column < outputs)[None, :]
        tl.store(place, (tl.load(place, mask=mask, other=0.0).to(tl.float32) + added).to(base.dtype.element_ty), mask=mask)


def _down_columns(rank: int) -> int:
    """Columns of a tile of the first product; tile and grid must agree, or columns stay unwritten."""
    return min(COLUMNS, room(rank, 16))


def builds(inputs: int, outputs: int, rank: int) -> tuple[Build, Build]:
    """The two products for a LoRA of these sizes."""
    down = {"inputs": inputs, "rank": rank, "tile": TILE, "columns": _down_columns(rank), "depth": DEPTH}
    up = {"outputs": outputs, "rank": rank, "rank_room": room(rank, 16), "tile": TILE, "columns": COLUMNS}
    return Build(_down, down), Build(_up, up)


def kernel_gated_lora(base: Tensor, x: Tensor, down: Tensor, up: Tensor, gate: Tensor) -> Tensor:
    """The definition by the kernels, added to `base` in place."""
    rows, inputs = x.shape
    outputs, rank = up.shape
    first, second = builds(inputs, outputs, rank)
    inner = torch.empty(rows, rank, dtype=x.dtype, device=x.device)
    tiles = -(-rows // TILE)
    first.launch((tiles, -(-rank // _down_columns(rank))), x, down, gate, inner, rows)
    second.launch((tiles, -(-outputs // COLUMNS)), base, inner, up, gate, rows)
    return base


def gated_lora(base: Tensor, x: Tensor, down: Tensor, up: Tensor, gate: Tensor) -> Tensor:
    """base [R, N] plus gate [R] times the LoRA of x [R, K], `down` [r, K] and `up` [N, r]; `base` may be overwritten."""
    return (kernel_gated_lora if runs(x) else gated_lora_reference)(base, x, down, up, gate)
