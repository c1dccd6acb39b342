"""Attention of a plan's rows over the pages of their sequences: the one visibility rule of the engine, computed in registers.

A row sees the first `limit` positions of its own sequence in the pages (the committed prefix and what this pass wrote for the
clean rows before it) and, if noisy, the rows of its own group, whose keys and values come from the projection alone.

Keys are cut at absolute multiples of `SPLIT`, whoever asks, so that the sum behind a row is a function of its own sequence:
alone or in company, in a lone row or a block. Each split leaves a float32 partial (peak, mass, mix); the rows of a group leave
one more; a second kernel merges a row's partials in order. No mask is ever stored.
Legend: R rows, t tiles, S sequences, Hq query heads, Hk key heads, G = Hq / Hk, D head size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.attention import attention_reference
from kernels.jit import Build, jit, room, runs, tl

PAGE = 32
TILE = 32
"""Rows of a tile; with G heads packed beside each row, 4 heads make the 128 rows of a tensor core's product."""
SPLIT = 512
STEP = 64
"""Keys of one step of the online softmax."""
CLEAN = -1


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Who sees whom in one pass, all int32.

    `limit` [R]; `group` [R] of a noisy row, CLEAN for others; `tiles` [t, 3]: first row, number of rows (at most TILE, noisy
    groups never cut) and sequence; `tables` [S, pages]. `reach` is the highest limit. Rows in no tile see nothing.
    Where `cuts` are given, attention goes piece by piece, so that its partials take less room: each piece has so many tiles and
    rows, one after the other, and its tiles count rows from its own first one.
    """

    limit: Tensor
    group: Tensor
    tiles: Tensor
    tables: Tensor
    reach: int
    cuts: tuple[tuple[int, int], ...] = ()

    def pieces(self) -> Iterator[tuple[slice, Rows]]:
        """Each piece's rows, and who sees whom among them."""
        tile = row = 0
        for tiles, rows in self.cuts:
            own = slice(row, row + rows)
            yield own, Rows(self.limit[own], self.group[own], self.tiles[tile : tile + tiles], self.tables, self.reach)
            tile, row = tile + tiles, row + rows


def paged_attention_reference(fresh: Tensor, pages: Tensor, rows: Rows) -> Tensor:
    """The definition: `fresh` [R, Hq + 2 Hk, D] and one layer's `pages` [P, PAGE, 2, Hk, D] -> [R, Hq D]."""
    key_heads = pages.shape[3]
    query, own = fresh[:, : -2 * key_heads], fresh[:, -2 * key_heads :].reshape(len(fresh), 2, key_heads, -1)
    out = torch.zeros_like(query)
    for first, count, sequence in rows.tiles.tolist():
        kept = pages[rows.tables[sequence].long()].flatten(0, 1)
        for row in range(first, first + count):
            group = rows.group[first : first + count]
            beside = own[first : first + count][(group == rows.group[row]) & (group != CLEAN)]
            seen = torch.cat((kept[: int(rows.limit[row])], beside))
            if len(seen):
                visible = torch.ones(1, len(seen), dtype=torch.bool, device=seen.device)
                out[row] = attention_reference(query[row, None], seen[:, 0], seen[:, 1], visible)[0]
    return out.flatten(1)


@jit
def _absorb(
    peak: tl.tensor,
    mass: tl.tensor,
    mix: tl.tensor,
    query: tl.tensor,
    source: tl.tensor,
    there: tl.tensor,
    visible: tl.tensor,
    lane: tl.tensor,
    size: tl.constexpr,
    to_value: tl.constexpr,
    scale: tl.constexpr,
    whole: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    # One step of the online softmax (Milakov and Gimelshein 2018) over keys at `source`, scores in units of log 2. Hidden keys
    # score -1e30: finite, absorbs any score, and 2 to its power is exactly 0. A `whole` step hides none, with the same bits.
    inside = lane < size
    key = tl.load(source[None, :] + lane[:, None], mask=there[None, :] & inside[:, None], other=0.0)
    value = tl.load(source[:, None] + to_value + lane[None, :], mask=there[:, None] & inside[None, :], other=0.0)
    scores = tl.dot(query, key, input_precision="ieee") * scale
    if not whole:
        scores = tl.where(visible, scores, -1e30)
    higher = tl.maximum(peak, tl.max(scores, 1))
    shrink = tl.exp2(peak - higher)
    weight = tl.exp2(scores - higher[:, None])
    mass = mass * shrink + tl.sum(weight, 1)
    mix = mix * shrink[:, None] + tl.dot(weight.to(value.dtype), value, input_precision="ieee")
    return higher, mass, mix


@jit
def _partials(
    fresh: tl.tensor,
    pages: tl.tensor,
    limits: tl.tensor,
    groups: tl.tensor,
    tiles: tl.tensor,
    tables: tl.tensor,
    mixes: tl.tensor,
    peaks: tl.tensor,
    masses: tl.tensor,
    splits: tl.tensor,
    width: tl.tensor,
    scale: tl.constexpr,
    queries: tl.constexpr,
    keys: tl.constexpr,
    size: tl.constexpr,
    folds_room: tl.constexpr,
    size_room: tl.constexpr,
    tile: tl.constexpr,
    span: tl.constexpr,
    step: tl.constexpr,
    page: tl.constexpr,
) -> None:
    # One key head of one tile over one split, or, in the place after the last split, over the noisy rows of the tile.
    key_head, split, work = tl.program_id(1), tl.program_id(2), tiles + tl.program_id(0) * 3
    first, count, sequence = tl.load(work), tl.load(work + 1), tl.load(work + 2)
    heads: tl.constexpr = queries + 2 * keys
    folds: tl.constexpr = queries // keys
    apart: tl.constexpr = keys * size
    index, lane = tl.arange(0, tile * folds_room), tl.arange(0, size_room)
    row, fold = first + index // folds_room, index % folds_room
    head = key_head * folds + fold
    real = (row < first + count) & (fold < folds)
    there = real[:, None] & (lane < size)[None, :]
    query = tl.load(fresh + (row * heads + head)[:, None] * size + lane[None, :], mask=there, other=0.0)
    limit, group = tl.load(limits + row, mask=real, other=0), tl.load(groups + row, mask=real, other=-1)
    furthest, nearest = tl.max(limit, 0), tl.min(tl.where(real, limit, 2147483647), 0)
    low = split * span
    paged, beside = (split < splits) & (low < furthest), (split == splits) & (tl.max(group, 0) >= 0)
    peak = tl.full([tile * folds_room], -1e30, tl.float32)
    mass, mix = tl.zeros([tile * folds_room], tl.float32), tl.zeros([tile * folds_room, size_room], tl.float32)
    if paged:
        high = tl.minimum(low + span, furthest)
        whole = low + tl.maximum(tl.minimum(nearest, high) - low, 0) // step * step
        for start in range(low, whole, step):
            where = start + tl.arange(0, step)
            place = tl.load(tables + sequence * width + where // page).to(tl.int64) * page + where % page
            source = pages + (place * 2 * keys + key_head) * size
            peak, mass, mix = _absorb(peak, mass, mix, query, source, where >= 0, where, lane, size, apart, scale, True)
        for start in range(whole, high, step):
            where = start + tl.arange(0, step)
            known = where < furthest
            place = tl.load(tables + sequence * width + where // page, mask=known, other=0).to(tl.int64) * page + where % page
            source = pages + (place * 2 * keys + key_head) * size
            visible = where[None, :] < limit[:, None]
            peak, mass, mix = _absorb(peak, mass, mix, query, source, known, visible, lane, size, apart, scale, False)
    if beside:
        near = tl.arange(0, tile)
        mates = tl.load(groups + first + near, mask=near < count, other=-1)
        visible = (mates[None, :] == group[:, None]) & (mates[None, :] >= 0)
        source = fresh + ((first + near) * heads + queries + key_head) * size
        peak, mass, mix = _absorb(peak, mass, mix, query, source, near < count, visible, lane, size, apart, scale, False)
    if paged | beside:
        place = (row * (splits + 1) + split) * queries + head
        tl.store(peaks + place, peak, mask=real)
        tl.store(masses + place, mass, mask=real)
        tl.store(mixes + place[:, None].to(tl.int64) * size + lane[None, :], mix, mask=there)


@jit
def _merge(
    mixes: tl.tensor,
    peaks: tl.tensor,
    masses: tl.tensor,
    limits: tl.tensor,
    groups: tl.tensor,
    out: tl.tensor,
    splits: tl.tensor,
    queries: tl.constexpr,
    size: tl.constexpr,
    size_room: tl.constexpr,
    span: tl.constexpr,
    batch: tl.constexpr,
) -> None:
    # One head of one row: its own splits in batches from the first on, then its group. A place left out weighs exactly 0.
    row, head = tl.program_id(0), tl.program_id(1)
    lane = tl.arange(0, size_room)
    inside = lane < size
    own = (tl.load(limits + row) + span - 1) // span
    noisy = tl.load(groups + row) >= 0
    held = tl.where(noisy, size, 0)
    base = row.to(tl.int64) * (splits + 1) * queries + head
    peak = tl.load(peaks + base + splits * queries, mask=noisy, other=-1e30)
    for start in range(0, own, batch):
        split = start + tl.arange(0, batch)
        peak = tl.maximum(peak, tl.max(tl.load(peaks + base + split * queries, mask=split < own, other=-1e30), 0))
    mass = tl.zeros([1], tl.float32)
    mix = tl.zeros([size_room], tl.float32)
    for start in range(0, own, batch):
        split = start + tl.arange(0, batch)
        there = split < own
        place = base + split * queries
        weight = tl.exp2(tl.load(peaks + place, mask=there, other=-1e30) - peak)
        mass += tl.sum(tl.where(there, tl.load(masses + place, mask=there, other=0.0) * weight, 0.0), 0)
        part = tl.load(mixes + place[:, None] * size + lane[None, :], mask=there[:, None] & inside[None, :], other=0.0)
        mix += tl.sum(part * weight[:, None], 0)
    last = base + splits * queries
    weight = tl.exp2(tl.load(peaks + last, mask=noisy, other=-1e30) - peak)
    mass += tl.load(masses + last, mask=noisy, other=0.0) * weight
    mix += tl.load(mixes + last * size + lane, mask=lane < held, other=0.0) * weight
    mixed = mix / tl.where(mass > 0, mass, 1.0)
    tl.store(out + (row * queries + head) * size + lane, mixed.to(out.dtype.element_ty), mask=inside)


def builds(queries: int, keys: int, size: int, span: int = SPLIT) -> tuple[Build, Build]:
    """The two kernels for these head counts and this head size."""
    wide = {"queries": queries, "size": size, "size_room": room(size, 16), "span": span}
    first = {
        **wide,
        "scale": math.log2(math.e) / math.sqrt(size),
        "keys": keys,
        "folds_room": room(queries // keys),
        "tile": TILE,
        "step": min(STEP, span),
        "page": PAGE,
    }
    return Build(_partials, first, warps=8, stages=2), Build(_merge, {**wide, "batch": 16}, warps=4)


def kernel_attention(fresh: Tensor, pages: Tensor, rows: Rows, span: int = SPLIT) -> Tensor:
    """The definition by the two kernels, keys cut at multiples of `span`."""
    count, heads, size = fresh.shape
    keys = pages.shape[3]
    queries, splits = heads - 2 * keys, -(-rows.reach // span)
    partials, merge = builds(queries, keys, size, span)
    mixes = torch.empty(count, splits + 1, queries, size, dtype=torch.float32, device=fresh.device)
    peaks, masses = (torch.empty(count, splits + 1, queries, dtype=torch.float32, device=fresh.device) for _ in range(2))
    out = torch.empty(count, queries * size, dtype=fresh.dtype, device=fresh.device)
    held = (mixes, peaks, masses)
    grid = (len(rows.tiles), keys, splits + 1)
    partials.launch(grid, fresh, pages, rows.limit, rows.group, rows.tiles, rows.tables, *held, splits, rows.tables.shape[1])
    merge.launch((count, queries), *held, rows.limit, rows.group, out, splits)
    return out


def paged_attention(fresh: Tensor, pages: Tensor, rows: Rows) -> Tensor:
    """`fresh` [R, Hq + 2 Hk, D] over one layer's `pages` [P, PAGE, 2, Hk, D] -> [R, Hq D]."""
    if rows.cuts:
        return torch.cat([paged_attention(fresh[own], pages, piece) for own, piece in rows.pieces()])
    return kernel_attention(fresh, pages, rows) if runs(fresh) else paged_attention_reference(fresh, pages, rows)
