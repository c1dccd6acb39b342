"""Laws of the attention kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from kernels.attention import (
    KEY_CHUNK,
    QUERY_TILE,
    Segment,
    attention_reference,
    grouped_attention,
    hiding_bias,
    tiled_attention,
)

SHAPES = [(4, 2, 16), (6, 2, 32), (8, 1, 8)]


def prefix(key: Tensor, value: Tensor, limits: Tensor, counts: Sequence[int]) -> list[Segment]:
    """Calls over key and value [n, t, Hk, D]; chunk c is for the first `counts[c]` tiles, `limits` is [n, T]."""
    found = []
    for chunk, count in enumerate(counts):
        part = slice(chunk * KEY_CHUNK, (chunk + 1) * KEY_CHUNK)
        visible = torch.arange(part.start, part.stop) < limits[:count, :, None]
        found.append(Segment(key[:count, part], value[:count, part], hiding_bias(visible)))
    return found


@pytest.mark.parametrize(("heads", "key_heads", "size"), SHAPES)
def test_fixed_calls_are_attention(heads: int, key_heads: int, size: int) -> None:
    """Chunks of cached keys and a segment of noisy keys merge to plain softmax attention over what is visible."""
    torch.manual_seed(heads)
    tiles = 3
    query = torch.randn(tiles, QUERY_TILE, heads, size)
    key, value = torch.randn(2, tiles, 3 * KEY_CHUNK, key_heads, size)
    noisy_key, noisy_value = torch.randn(2, tiles, QUERY_TILE, key_heads, size)
    limits = torch.stack([torch.arange(QUERY_TILE) * step + 1 for step in (23, 9, 3)])
    groups = torch.arange(QUERY_TILE) // 5
    own = (groups[:, None] == groups[None]) & (torch.arange(QUERY_TILE) < 30)
    beside = Segment(noisy_key, noisy_value, hiding_bias(own.expand(tiles, -1, -1)))
    found = tiled_attention(query, key_heads, [*prefix(key, value, limits, (3, 2, 1)), beside])
    for tile in range(tiles):
        visible = torch.cat((torch.arange(3 * KEY_CHUNK) < limits[tile, :, None], own), dim=1)
        keys, values = torch.cat((key[tile], noisy_key[tile])), torch.cat((value[tile], noisy_value[tile]))
        wanted = attention_reference(query[tile], keys, values, visible)
        torch.testing.assert_close(found[tile], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("heads", "key_heads", "size"), SHAPES)
def test_queries_do_not_feel_their_place(heads: int, key_heads: int, size: int) -> None:
    """A query gives the same bits in any tile at any place, whatever the other queries are and may see, NaN included."""
    torch.manual_seed(size)
    own_key, own_value = torch.randn(2, 2 * KEY_CHUNK, key_heads, size)
    query = torch.randn(heads, size)
    alone = None
    for place in range(QUERY_TILE):
        tiles = 1 + place % 4
        tile = place % tiles
        queries, limits = torch.randn(tiles, QUERY_TILE, heads, size) * 3, torch.randint(1, 500, (tiles, QUERY_TILE))
        key, value = torch.randn(2, tiles, 2 * KEY_CHUNK, key_heads, size)
        key[tile - 1], queries[tile, place - 1] = torch.nan, torch.nan
        key[tile], value[tile], queries[tile, place], limits[tile, place] = own_key, own_value, query, 300
        found = tiled_attention(queries, key_heads, prefix(key, value, limits, (tiles, tiles)))[tile, place]
        alone = found if alone is None else alone
        assert torch.equal(found, alone)


def test_a_hidden_chunk_adds_exactly_nothing() -> None:
    """A query that may see nothing of a chunk gives the same bits whether or not the call is made."""
    torch.manual_seed(1)
    key, value = torch.randn(2, 2, 3 * KEY_CHUNK, 2, 16) * 4
    query, limits = torch.randn(2, QUERY_TILE, 4, 16), (torch.arange(QUERY_TILE) + 1).expand(2, -1)
    one, three = (tiled_attention(query, 2, prefix(key, value, limits, counts)) for counts in ((2,), (2, 2, 1)))
    assert torch.equal(one, three)


def test_hidden_keys_do_not_matter() -> None:
    """Whatever finite numbers stand in slots that a query may not see, its bits are the same."""
    torch.manual_seed(2)
    key, value = torch.randn(2, 1, KEY_CHUNK, 2, 16)
    query, limits = torch.randn(1, QUERY_TILE, 4, 16), torch.full((1, QUERY_TILE), 77)
    before = tiled_attention(query, 2, prefix(key, value, limits, (1,)))
    key[:, 77:], value[:, 77:] = 1e6, -1e6
    assert torch.equal(tiled_attention(query, 2, prefix(key, value, limits, (1,))), before)


def test_attention_over_nothing_is_an_error() -> None:
    """Without a segment there is nothing to attend to."""
    with pytest.raises(ValueError, match="at least one"):
        tiled_attention(torch.zeros(1, QUERY_TILE, 4, 8), 2, [])


@pytest.mark.parametrize(("heads", "key_heads", "size"), SHAPES)
@pytest.mark.parametrize(("count", "rows"), [(1, 1), (5, 1), (1, 16), (3, 7)])
def test_a_padded_call_is_attention(heads: int, key_heads: int, size: int, count: int, rows: int) -> None:
    """One call for sequences of equal row counts gives each of them plain softmax attention over what it may see."""
    torch.manual_seed(count + rows)
    query = torch.randn(count, rows, heads, size)
    key, value = torch.randn(2, count, 40, key_heads, size)
    visible = torch.rand(count, rows, 40) < 0.6
    visible[..., 0] = True
    bias = torch.zeros(visible.shape).masked_fill(~visible, -math.inf)
    found = grouped_attention(query, key, value, bias.repeat(1, heads // key_heads, 1)[:, None])
    for index in range(count):
        wanted = attention_reference(query[index], key[index], value[index], visible[index])
        torch.testing.assert_close(found[index], wanted, rtol=1e-4, atol=1e-5)
