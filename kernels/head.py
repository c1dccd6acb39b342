"""From hidden states to tokens without ever holding rows x vocabulary: the head's weight is read once, tile by tile.

Per row: the pick (highest score, lowest id among equals), the logit of the pick and of a given target, and the log-sum-exp of
all logits. A score is the logit, without the mask id and what a grammar forbids, over the temperature plus keyed noise where
there is a temperature. Log-probabilities are those of the raw logits, so nothing of that enters the log-sum-exp.
A tile of the vocabulary leaves one summary per row; a second kernel merges a row's summaries, always in the same order.
Legend: W rows, H hidden, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.jit import Build, jit, room, runs, tl
from kernels.noise import gumbel_reference, noise_at

TILE, COLUMNS, DEPTH = 64, 64, 64


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """Sampling of the rows: `temperature` float32 [W] (0: greedy), `key` and `position` int64 [W] of the noise."""

    temperature: Tensor
    key: Tensor
    position: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What the rows are subject to. `target` int32 [W] is an id to score, or -1; `heat` None: all greedy.

    `allowed` int32 [W, ceil(V / 32)] has bit v % 32 of word v // 32 set for what a grammar permits; None: everything.
    """

    mask_id: int
    target: Tensor
    heat: Heat | None = None
    allowed: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Picked:
    """`token` int32 [W]; float32 [W] the `logit` of it, the log-sum-exp `lse`, and the logit `scored` of the target (0: none).

    A row that is not finite has an arbitrary token of the vocabulary and an `lse` that is not finite.
    """

    token: Tensor
    logit: Tensor
    lse: Tensor
    scored: Tensor


def pick_reference(hidden: Tensor, weight: Tensor, asked: Asked) -> Picked:
    """The definition: `hidden` [W, H] by the head's `weight` [V, H]; float32 logits, held whole."""
    logits = hidden.to(torch.float32) @ weight.to(torch.float32).t()
    ids = torch.arange(weight.shape[0], device=logits.device)
    scores = logits.masked_fill(ids == asked.mask_id, -math.inf)
    if asked.allowed is not None:
        scores = scores.masked_fill((asked.allowed[:, ids // 32] >> (ids % 32)) & 1 == 0, -math.inf)
    if asked.heat is not None:
        warm = asked.heat.temperature[:, None]
        noise = gumbel_reference(asked.heat.key, asked.heat.position, len(ids))
        scores = torch.where(warm > 0, scores / torch.where(warm > 0, warm, 1) + noise, scores)
    token = torch.where(scores == scores.amax(-1, keepdim=True), ids, len(ids) - 1).amin(-1)
    target = asked.target.long()
    scored = torch.where(target < 0, 0, logits.gather(-1, target.clamp(0)[:, None])[:, 0])
    logit = logits.gather(-1, token[:, None])[:, 0]
    return Picked(token.to(torch.int32), logit, logits.logsumexp(-1), scored)


@jit
def _summaries(
    hidden: tl.tensor,
    weight: tl.tensor,
    targets: tl.tensor,
    temperatures: tl.tensor,
    keys: tl.tensor,
    positions: tl.tensor,
    allowed: tl.tensor,
    best_score: tl.tensor,
    best_id: tl.tensor,
    best_logit: tl.tensor,
    peaks: tl.tensor,
    masses: tl.tensor,
    scored: tl.tensor,
    rows: tl.tensor,
    mask_id: tl.tensor,
    inputs: tl.constexpr,
    vocab: tl.constexpr,
    heated: tl.constexpr,
    bounded: tl.constexpr,
    tile: tl.constexpr,
    columns: tl.constexpr,
    depth: tl.constexpr,
) -> None:
    # Tiles of rows are the fastest axis, so that a tile of the weight is still in cache for the next rows.
    row = tl.program_id(0) * tile + tl.arange(0, tile)
    token = tl.program_id(1) * columns + tl.arange(0, columns)
    real, known = row < rows, token < vocab
    left, right = hidden + row.to(tl.int64)[:, None] * inputs, weight + token.to(tl.int64)[None, :] * inputs
    logits = tl.zeros([tile, columns], tl.float32)
    for start in range(0, inputs, depth):
        lane = start + tl.arange(0, depth)
        there = lane < inputs
        states = tl.load(left + lane[None, :], mask=real[:, None] & there[None, :], other=0.0)
        weights = tl.load(right + lane[:, None], mask=known[None, :] & there[:, None], other=0.0)
        logits += tl.dot(states, weights, input_precision="ieee")
    none = float("-inf")
    logits = tl.where(known[None, :], logits, none)
    scores = tl.where((token == mask_id)[None, :], none, logits)
    if bounded:
        words: tl.constexpr = (vocab + 31) // 32
        word = allowed + row.to(tl.int64)[:, None] * words + (token // 32)[None, :]
        bits = tl.load(word, mask=real[:, None] & known[None, :], other=0)
        scores = tl.where((bits >> (token % 32)[None, :]) & 1 == 0, none, scores)
    if heated:
        warm = tl.load(temperatures + row, mask=real, other=0.0)[:, None]
        key = tl.load(keys + row, mask=real, other=0)[:, None]
        position = tl.load(positions + row, mask=real, other=0)[:, None]
        hot = tl.div_rn(scores, tl.broadcast_to(tl.where(warm > 0, warm, 1.0), [tile, columns])) + noise_at(
            token[None, :], position, key
        )
        scores = tl.where(warm > 0, hot, scores)
    highest = tl.max(scores, 1)
    pick = tl.min(tl.where(scores == highest[:, None], token[None, :], 2147483647), 1)
    peak = tl.max(logits, 1)
    place = row.to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
    tl.store(best_score + place, highest, mask=real)
    tl.store(best_id + place, pick, mask=real)
    tl.store(best_logit + place, tl.sum(tl.where(token[None, :] == pick[:, None], logits, 0.0), 1), mask=real)
    tl.store(peaks + place, peak, mask=real)
    tl.store(masses + place, tl.sum(tl.exp(logits - peak[:, None]), 1), mask=real)
    target = tl.load(targets + row, mask=real, other=-1)
    tl.store(scored + place, tl.sum(tl.where(token[None, :] == target[:, None], logits, 0.0), 1), mask=real)


@jit
def _merge(
    best_score: tl.tensor,
    best_id: tl.tensor,
    best_logit: tl.tensor,
    peaks: tl.tensor,
    masses: tl.tensor,
    scored: tl.tensor,
    token: tl.tensor,
    logit: tl.tensor,
    lse: tl.tensor,
    target_logit: tl.tensor,
    tiles: tl.constexpr,
    tiles_room: tl.constexpr,
    vocab: tl.constexpr,
) -> None:
    row, lane = tl.program_id(0), tl.arange(0, tiles_room)
    inside = lane < tiles
    place = row.to(tl.int64) * tiles + lane
    score = tl.load(best_score + place, mask=inside, other=float("-inf"))
    ids = tl.load(best_id + place, mask=inside, other=2147483647)
    pick = tl.min(tl.where(score == tl.max(score, 0), ids, 2147483647), 0)
    chosen = tl.where(ids == pick, tl.load(best_logit + place, mask=inside, other=0.0), 0.0)
    peak = tl.load(peaks + place, mask=inside, other=float("-inf"))
    highest = tl.max(peak, 0)
    mass = tl.sum(tl.load(masses + place, mask=inside, other=0.0) * tl.exp(peak - highest), 0)
    tl.store(token + row, tl.minimum(pick, vocab - 1))
    tl.store(logit + row, tl.sum(chosen, 0))
    tl.store(lse + row, highest + tl.log(mass))
    tl.store(target_logit + row, tl.sum(tl.load(scored + place, mask=inside, other=0.0), 0))


def builds(inputs: int, vocab: int, heated: bool, bounded: bool) -> tuple[Build, Build]:
    """The two kernels for a head of this shape, with or without noise and grammar."""
    shape = {"inputs": inputs, "vocab": vocab, "tile": TILE, "columns": COLUMNS, "depth": DEPTH}
    tiles = -(-vocab // COLUMNS)
    merge = {"tiles": tiles, "tiles_room": room(tiles), "vocab": vocab}
    return Build(_summaries, {**shape, "heated": heated, "bounded": bounded}, warps=8), Build(_merge, merge)


def kernel_pick(hidden: Tensor, weight: Tensor, asked: Asked) -> Picked:
    """The definition by the two kernels."""
    rows, inputs = hidden.shape
    vocab, device, tiles = weight.shape[0], hidden.device, -(-weight.shape[0] // COLUMNS)
    floats = [torch.empty(rows, tiles, dtype=torch.float32, device=device) for _ in range(5)]
    summaries = (floats[0], torch.empty(rows, tiles, dtype=torch.int32, device=device), *floats[1:])
    token = torch.empty(rows, dtype=torch.int32, device=device)
    logit, lse, scored = (torch.empty(rows, dtype=torch.float32, device=device) for _ in range(3))
    # A kernel built without noise or grammar never reads its arguments for them.
    heat = asked.heat or Heat(logit, asked.target, asked.target)
    first, second = builds(inputs, vocab, asked.heat is not None, asked.allowed is not None)
    subject = (
        asked.target,
        heat.temperature,
        heat.key,
        heat.position,
        asked.target if asked.allowed is None else asked.allowed,
    )
    first.launch((-(-rows // TILE), tiles), hidden, weight, *subject, *summaries, rows, asked.mask_id)
    second.launch((rows,), *summaries, token, logit, lse, scored)
    return Picked(token, logit, lse, scored)


def pick(hidden: Tensor, weight: Tensor, asked: Asked) -> Picked:
    """Tokens for `hidden` [W, H] by the head's `weight` [V, H]."""
    return (kernel_pick if runs(hidden) else pick_reference)(hidden, weight, asked)
