"""Attention in fixed calls of 32 queries by 256 keys, merged in a fixed order.

Keys are cut by absolute position (key t belongs to chunk t // 256), whether they were cached long ago or written by this
very pass, so the same query over the same prefix is always the same sum. A chunk that a query may not see adds exactly
nothing to it. Noisy queries end with one more call, over the 32 noisy keys of their own tile.
Legend: T query tile (32), C key chunk (256), Hk key heads, G queries per key head, D head size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

QUERY_TILE = 32
KEY_CHUNK = 256

_HIDDEN = -1e30
"""Bias of a hidden key: finite, absorbs any score, and 2 to its power is exactly 0. On CPUs exp of an infinity is slow."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Keys [Hk, n, D] and values [Hk, n, D] of one call; `bias` [T, n] as made below, None where every query sees every key."""

    key: Tensor
    value: Tensor
    bias: Tensor | None


def attention_reference(query: Tensor, key: Tensor, value: Tensor, visible: Tensor) -> Tensor:
    """The definition: query [n, Hq, D], key and value [t, Hk, D], visible bool [n, t] -> [n, Hq, D], softmax at 1/sqrt(D)."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = torch.einsum("nhd,thd->hnt", query, key) / math.sqrt(query.shape[-1])
    weights = scores.masked_fill(~visible, -math.inf).softmax(-1)
    return torch.einsum("hnt,thd->nhd", weights, value)


def limit_bias(limits: Tensor, chunk: int) -> Tensor | None:
    """Bias [T, C] that lets query i see keys below `limits[i]` (int64 [T]) in `chunk`; None when nothing is hidden."""
    first = chunk * KEY_CHUNK
    if int(limits.min()) >= first + KEY_CHUNK:
        return None
    hidden = torch.arange(first, first + KEY_CHUNK) >= limits[:, None]
    return torch.zeros(hidden.shape).masked_fill_(hidden, _HIDDEN)


def group_bias(groups: Tensor, rows: int) -> Tensor:
    """Bias [T, T] that lets query i see noisy key j of its own group (int64 [T]); only the first `rows` keys are real."""
    hidden = groups[:, None] != groups[None, :]
    hidden[:, rows:] = True
    return torch.zeros(hidden.shape).masked_fill_(hidden, _HIDDEN)


def block_attention(query: Tensor, segments: Sequence[Segment]) -> Tensor:
    """query [T, Hq, D] over the segments in order -> [T, Hq, D] (online softmax, Milakov and Gimelshein 2018).

    m' = max(m, max s);  l' = l 2^(m-m') + sum 2^(s-m');  acc' = acc 2^(m-m') + 2^(s-m') V;  result acc / l,
    with scores s in units of log 2. Every query must see at least one key of the first segment.
    """
    tile, heads, size = query.shape
    key_heads = segments[0].key.shape[0]
    grouped = (query * (math.log2(math.e) / math.sqrt(size))).view(tile, key_heads, -1, size)
    rows = grouped.permute(1, 2, 0, 3).reshape(key_heads, -1, size)
    peak, mass, mixed = _partial(rows, segments[0], None)
    for segment in segments[1:]:
        higher, more, extra = _partial(rows, segment, peak)
        shrink = torch.exp2(peak - higher)
        peak, mass, mixed = higher, mass * shrink + more, mixed * shrink + extra
    out = (mixed / mass).view(key_heads, heads // key_heads, tile, size)
    return out.permute(2, 0, 1, 3).reshape(tile, heads, size)


def _partial(rows: Tensor, segment: Segment, peak: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Peak, mass and unnormalised mix of one call, relative to the higher of `peak` and the call's own peak."""
    scores = torch.bmm(rows, segment.key.transpose(1, 2))
    if segment.bias is not None:
        groups = scores.shape[1] // QUERY_TILE
        scores.view(scores.shape[0], groups, QUERY_TILE, -1).add_(segment.bias)
    highest = scores.amax(-1, keepdim=True)
    if peak is not None:
        highest = torch.maximum(highest, peak)
    weights = scores.sub_(highest).exp2_()
    return highest, weights.sum(-1, keepdim=True), torch.bmm(weights, segment.value)
