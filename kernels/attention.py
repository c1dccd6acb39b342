"""Attention over many sequences at once, in two forms.

`tiled_attention` is exact: calls of 32 queries by 256 keys, merged in a fixed order. Keys are cut by absolute position (key t
belongs to chunk t // 256), whether they were cached long ago or written by this very pass, so the same query over the same
prefix is always the same sum, whatever stands beside it. A chunk that a query may not see adds exactly nothing to it.

`grouped_attention` is quick: one call per group of sequences with equal row counts, padded to the longest of them.
Legend: n tiles or sequences, T query tile (32), C key chunk (256), Hq query heads, Hk key heads, G = Hq / Hk, D head size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor

QUERY_TILE = 32
KEY_CHUNK = 256

_HIDDEN = -1e30
"""Bias of a hidden key: finite, absorbs any score, and 2 to its power is exactly 0. On CPUs exp of an infinity is slow."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Keys and values [m, C, Hk, D] for the first m tiles; `bias` [m, T, C] is 0 or hides, None where all is seen."""

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


def hiding_bias(visible: Tensor) -> Tensor:
    """The bias of a segment: 0 where `visible` (bool), hidden elsewhere."""
    return torch.zeros(visible.shape).masked_fill_(~visible, _HIDDEN)


def tiled_attention(query: Tensor, key_heads: int, segments: Iterable[Segment]) -> Tensor:
    """query [n, T, Hq, D] over the segments in order -> [n, T, Hq, D] (online softmax, Milakov and Gimelshein 2018).

    m' = max(m, max s);  l' = l 2^(m-m') + sum 2^(s-m');  acc' = acc 2^(m-m') + 2^(s-m') V;  result acc / l,
    with scores s in units of log 2. The first segment is for all tiles, and every query sees some key of it.
    """
    tiles, tile, heads, size = query.shape
    scaled = (query * (math.log2(math.e) / math.sqrt(size))).reshape(tiles, tile, key_heads, -1, size)
    rows = scaled.permute(0, 2, 3, 1, 4).reshape(tiles * key_heads, -1, size)
    state: tuple[Tensor, Tensor, Tensor] | None = None
    for segment in segments:
        count = segment.key.shape[0] * key_heads
        if state is None:
            state = _partial(rows, segment, None)
            continue
        peak, mass, mixed = (part[:count] for part in state)
        higher, more, extra = _partial(rows[:count], segment, peak)
        shrink = torch.exp2(peak - higher)
        mass.mul_(shrink).add_(more)
        mixed.mul_(shrink).add_(extra)
        peak.copy_(higher)
    if state is None:
        raise ValueError("attention needs at least one segment")
    out = (state[2] / state[1]).view(tiles, key_heads, heads // key_heads, tile, size)
    return out.permute(0, 3, 1, 2, 4).reshape(tiles, tile, heads, size)


def _partial(rows: Tensor, segment: Segment, peak: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Peak, mass and unnormalised mix of one call, relative to the higher of `peak` and the call's own peak."""
    count, keys, heads, size = segment.key.shape
    key = segment.key.permute(0, 2, 1, 3).reshape(count * heads, keys, size)
    value = segment.value.permute(0, 2, 1, 3).reshape(count * heads, keys, size)
    scores = torch.bmm(rows, key.transpose(1, 2))
    if segment.bias is not None:
        scores.view(count, -1, QUERY_TILE, keys).add_(segment.bias[:, None])
    highest = scores.amax(-1, keepdim=True)
    if peak is not None:
        highest = torch.maximum(highest, peak)
    weights = scores.sub_(highest).exp2_()
    return highest, weights.sum(-1, keepdim=True), torch.bmm(weights, value)


def grouped_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """query [n, q, Hq, D], key and value [n, t, Hk, D] -> [n, q, Hq, D]; `bias` [n, 1, G q, t] is 0 or minus infinity.

    The G query heads of a key head become rows of one head, so nothing is repeated.
    """
    count, rows, heads, size = query.shape
    key_heads = key.shape[2]
    folded = query.reshape(count, rows, key_heads, -1, size).permute(0, 2, 3, 1, 4).reshape(count, key_heads, -1, size)
    mixed = F.scaled_dot_product_attention(folded, key.transpose(1, 2), value.transpose(1, 2), attn_mask=bias)
    out = mixed.view(count, key_heads, heads // key_heads, rows, size)
    return out.permute(0, 3, 1, 2, 4).reshape(count, rows, heads, size)
