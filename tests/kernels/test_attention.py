"""Laws of the block attention."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernels.attention import KEY_CHUNK, QUERY_TILE, Segment, attention_reference, block_attention, group_bias, limit_bias

SHAPES = [(4, 2, 16), (6, 2, 32), (8, 1, 8)]


def prefix(key: Tensor, value: Tensor, limits: Tensor, chunks: int) -> list[Segment]:
    """The first `chunks` fixed calls over key and value [Hk, t, D]."""
    cut = [slice(n * KEY_CHUNK, (n + 1) * KEY_CHUNK) for n in range(chunks)]
    return [Segment(key[:, part], value[:, part], limit_bias(limits, n)) for n, part in enumerate(cut)]


@pytest.mark.parametrize(("heads", "key_heads", "size"), SHAPES)
def test_fixed_calls_are_attention(heads: int, key_heads: int, size: int) -> None:
    """Chunks of cached keys and a segment of noisy keys merge to plain softmax attention over what is visible."""
    torch.manual_seed(heads)
    query = torch.randn(QUERY_TILE, heads, size)
    key, value = torch.randn(2, key_heads, 3 * KEY_CHUNK, size)
    noisy_key, noisy_value = torch.randn(2, key_heads, QUERY_TILE, size)
    limits, groups = torch.arange(QUERY_TILE) * 23 + 1, torch.arange(QUERY_TILE) // 5
    beside = Segment(noisy_key, noisy_value, group_bias(groups, 30))
    found = block_attention(query, [*prefix(key, value, limits, 3), beside])
    own = (groups[:, None] == groups[None]) & (torch.arange(QUERY_TILE) < 30)
    visible = torch.cat((torch.arange(3 * KEY_CHUNK) < limits[:, None], own), dim=1)
    keys, values = torch.cat((key, noisy_key), 1).transpose(0, 1), torch.cat((value, noisy_value), 1).transpose(0, 1)
    torch.testing.assert_close(found, attention_reference(query, keys, values, visible), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("heads", "key_heads", "size"), SHAPES)
def test_queries_do_not_feel_their_place(heads: int, key_heads: int, size: int) -> None:
    """A query gives the same bits at every place of its tile, whatever the other queries are and may see."""
    torch.manual_seed(size)
    key, value = torch.randn(2, key_heads, 2 * KEY_CHUNK, size)
    query = torch.randn(heads, size)
    alone = None
    for place in range(QUERY_TILE):
        queries, limits = torch.randn(QUERY_TILE, heads, size) * 3, torch.randint(1, 2 * KEY_CHUNK, (QUERY_TILE,))
        queries[place], limits[place] = query, 300
        found = block_attention(queries, prefix(key, value, limits, 2))[place]
        alone = found if alone is None else alone
        assert torch.equal(found, alone)


def test_a_hidden_chunk_adds_exactly_nothing() -> None:
    """A query that may see nothing of a chunk gives the same bits whether or not the call is made."""
    torch.manual_seed(1)
    key, value = torch.randn(2, 2, 3 * KEY_CHUNK, 16) * 4
    query, limits = torch.randn(QUERY_TILE, 4, 16), torch.arange(QUERY_TILE) + 1
    assert torch.equal(
        block_attention(query, prefix(key, value, limits, 1)), block_attention(query, prefix(key, value, limits, 3))
    )


def test_hidden_keys_do_not_matter() -> None:
    """Whatever finite numbers stand in slots that a query may not see, its bits are the same."""
    torch.manual_seed(2)
    key, value = torch.randn(2, 2, KEY_CHUNK, 16)
    query, limits = torch.randn(QUERY_TILE, 4, 16), torch.full((QUERY_TILE,), 77)
    before = block_attention(query, prefix(key, value, limits, 1))
    key[:, 77:], value[:, 77:] = 1e6, -1e6
    assert torch.equal(block_attention(query, prefix(key, value, limits, 1)), before)


def test_a_bias_that_hides_nothing_is_left_out() -> None:
    """A chunk that every query sees whole needs no bias."""
    limits = torch.tensor([KEY_CHUNK, 300])
    assert limit_bias(limits, 0) is None
    assert limit_bias(limits, 1) is not None
