"""Rotary positions (Su et al. 2021), the query scale, and keys and values into their pages, in one reading of a projection.

Which frequencies (YaRN) and which scale (llama 4) is the caller's affair: they come as tables by absolute position. Layout is
rotate-half: the first half of a head turns with the second.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.jit import Build, jit, room, runs, tl

NOWHERE = -1
"""The slot of a row that keeps nothing: noisy rows and padding."""


def rotate_reference(projected: Tensor, turns: Tensor, scales: Tensor, position: Tensor, slot: Tensor, pages: Tensor) -> Tensor:
    """The definition: queries and keys turned, queries scaled, values as they were, [R, Hq + 2 Hk, D].

    `projected` is [R, Hq + 2 Hk, D], `turns` float32 [positions, 2, D / 2] (cos, sin), `scales` [positions], `position` and
    `slot` int32 [R]; keys and values of rows with a slot are written to it in `pages` [P, page, 2, Hk, D].
    """
    keys, size = pages.shape[3], projected.shape[2]
    cos, sin = turns[position.long()].repeat(1, 1, 2)[:, :, None].unbind(1)
    turned = projected[:, :-keys].to(torch.float32)
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cos + torch.cat((-second, first), dim=-1) * sin
    turned[:, :-keys] *= scales[position.long()][:, None, None]
    out = torch.cat((turned.to(projected.dtype), projected[:, -keys:]), dim=1)
    kept = slot != NOWHERE
    pages.flatten(0, 1)[slot[kept].long()] = out[kept, -2 * keys :].reshape(-1, 2, keys, size)
    return out


@jit
def _rotate(
    projected: tl.tensor,
    turns: tl.tensor,
    scales: tl.tensor,
    positions: tl.tensor,
    slots: tl.tensor,
    pages: tl.tensor,
    out: tl.tensor,
    queries: tl.constexpr,
    keys: tl.constexpr,
    heads_room: tl.constexpr,
    half: tl.constexpr,
    half_room: tl.constexpr,
) -> None:
    row = tl.program_id(0)
    position, slot = tl.load(positions + row).to(tl.int64), tl.load(slots + row).to(tl.int64)
    head, lane = tl.arange(0, heads_room), tl.arange(0, half_room)
    inside = lane < half
    cos = tl.load(turns + position * 2 * half + lane, mask=inside, other=0.0)
    sin = tl.load(turns + (position * 2 + 1) * half + lane, mask=inside, other=0.0)
    turned, scaled = head < queries + keys, head < queries
    scale = tl.where(scaled, tl.load(scales + position), 1.0)[:, None]
    heads: tl.constexpr = queries + 2 * keys
    there = (head < heads)[:, None] & inside[None, :]
    place = head[:, None] * 2 * half + lane[None, :]
    source = projected + row.to(tl.int64) * heads * 2 * half + place
    one, two = tl.load(source, mask=there, other=0.0), tl.load(source + half, mask=there, other=0.0)
    left, right = one.to(tl.float32), two.to(tl.float32)
    first = ((left * cos[None, :] - right * sin[None, :]) * scale).to(one.dtype)
    second = ((right * cos[None, :] + left * sin[None, :]) * scale).to(one.dtype)
    first, second = tl.where(turned[:, None], first, one), tl.where(turned[:, None], second, two)
    target = out + row.to(tl.int64) * heads * 2 * half + place
    tl.store(target, first, mask=there)
    tl.store(target + half, second, mask=there)
    kept = there & (head >= tl.where(slot >= 0, queries, heads))[:, None]
    page = pages + slot * 2 * keys * 2 * half + place - queries * 2 * half
    tl.store(page, first, mask=kept)
    tl.store(page + half, second, mask=kept)


def build(queries: int, keys: int, size: int) -> Build:
    """The kernel for these head counts and this head size, which is even."""
    half = size // 2
    shape = {"heads_room": room(queries + 2 * keys), "half": half, "half_room": room(half)}
    return Build(_rotate, {"queries": queries, "keys": keys, **shape})


def kernel_rotate(projected: Tensor, turns: Tensor, scales: Tensor, position: Tensor, slot: Tensor, pages: Tensor) -> Tensor:
    """The definition by the kernel, one row a program."""
    rows, heads, size = projected.shape
    keys = pages.shape[3]
    out = torch.empty(projected.shape, dtype=projected.dtype, device=projected.device)
    fields = (projected, turns, scales, position, slot, pages, out)
    build(heads - 2 * keys, keys, size).launch((rows,), *fields)
    return out


def rotate_and_keep(projected: Tensor, turns: Tensor, scales: Tensor, position: Tensor, slot: Tensor, pages: Tensor) -> Tensor:
    """Turned and scaled heads [R, Hq + 2 Hk, D]; keys and values of rows with a slot are in `pages` from now on."""
    return (kernel_rotate if runs(projected) else rotate_reference)(projected, turns, scales, position, slot, pages)
