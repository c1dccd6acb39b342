"""Laws of the key-value cache."""

from __future__ import annotations

import torch

from engine.cache import KVCache
from kernels.attention import KEY_CHUNK
from tests.engine.small import small_config


def test_writes_cross_chunks() -> None:
    """Rows written over a chunk border stand at their positions."""
    cache = KVCache(small_config())
    cache.reserve(KEY_CHUNK + 9)
    key, value = torch.randn(2, 20, 2, 16)
    cache.write(1, KEY_CHUNK - 11, key, value)
    cache.commit(KEY_CHUNK + 9)
    held = cache.snapshot()[1]
    assert torch.equal(held[0, :, KEY_CHUNK - 11 :], key.transpose(0, 1))
    assert torch.equal(held[1, :, KEY_CHUNK - 11 :], value.transpose(0, 1))


def test_rollback_is_one_integer() -> None:
    """Rows above `committed` are no part of the cache and the next write overwrites them."""
    cache = KVCache(small_config())
    cache.reserve(12)
    first, second = torch.randn(2, 2, 6, 2, 16)
    cache.write(0, 0, *first)
    cache.commit(2)
    cache.write(0, 2, *second)
    cache.commit(6)
    assert torch.equal(cache.snapshot()[0, 0], torch.cat((first[0][:2], second[0])).transpose(0, 1))


def test_an_empty_cache_is_finite() -> None:
    """Fresh slots hold zeros, so a masked slot can never poison a sum; nothing is committed."""
    cache = KVCache(small_config())
    assert cache.snapshot().shape[3] == 0
    cache.reserve(1)
    assert not cache.chunk(0, 0)[0].any() and not cache.chunk(0, 0)[1].any()
