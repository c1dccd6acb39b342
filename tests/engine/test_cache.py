"""Laws of one sequence's cache."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.attend import GroupedAttention
from engine.cache import KVCache
from engine.pages import PAGE, PagePool
from engine.plan import Plan, clean
from tests.engine.harness import snapshot
from tests.engine.small import small_config

SALT = b"tenant"


def pool(pages: int = 8) -> PagePool:
    """A pool of the small model's shape."""
    return PagePool(small_config(), pages, torch.float32)


def written(cache: KVCache, pages: PagePool, layer: int, rows: int) -> Tensor:
    """Write random keys and values for `rows` clean rows above what is filled; [rows, 2, Hk, D]."""
    assert cache.reserve(cache.filled + rows)
    rotated = torch.randn(rows, 8, 16)
    GroupedAttention(Plan.pack([(cache, clean((1,) * rows))]), pages)(layer, rotated)
    return rotated[:, 4:].reshape(rows, 2, 2, 16)


def test_rows_stand_at_their_positions() -> None:
    """Rows written over a page border are found again at their positions, in their layer, wherever the pages lie."""
    pages = pool()
    cache = KVCache(pages, SALT)
    cache.pages = (pages.take(3) or [])[::-1]
    parts = []
    for rows in (PAGE - 11, 20, 30):
        parts.append(written(cache, pages, 1, rows))
        cache.keep(rows, range(96))
    assert torch.equal(snapshot(cache)[1], torch.cat(parts))
    assert not snapshot(cache)[0].any()


def test_rollback_is_one_integer() -> None:
    """Rows above `filled` are no part of the cache and the next write overwrites them."""
    pages = pool()
    cache = KVCache(pages, SALT)
    first = written(cache, pages, 0, 6)
    cache.keep(2, range(6))
    second = written(cache, pages, 0, 6)
    cache.keep(6, range(8))
    assert torch.equal(snapshot(cache)[0], torch.cat((first[:2], second)))


def test_an_empty_cache_is_finite() -> None:
    """Fresh slots hold zeros, so a masked slot can never poison a sum; nothing is filled."""
    pages = pool()
    cache = KVCache(pages, SALT)
    assert snapshot(cache).shape[1] == 0 and cache.reserve(1)
    assert cache.filled == 0 and not pages.kv.any()


def test_reserving_too_much_changes_nothing() -> None:
    """When the pool has too few pages, the cache and the pool stay as they were."""
    pages = pool(2)
    cache = KVCache(pages, SALT)
    assert cache.reserve(PAGE) and not cache.reserve(4 * PAGE) and not cache.reserve(3 * PAGE)
    assert len(cache.pages) == 1 and pages.available == 1
    pages.check([cache.pages])
    assert cache.reserve(2 * PAGE) and pages.available == 0


def test_full_pages_are_adopted_and_others_are_not() -> None:
    """A newcomer takes up every whole page of the same beginning, and starts empty on its own behind them."""
    pages, tokens = pool(), tuple(range(80))
    cache = KVCache(pages, SALT)
    assert cache.reserve(80)
    cache.keep(80, tokens)
    other = KVCache(pages, SALT)
    other.adopt((*tokens[:70], 5, 5))
    assert other.pages == cache.pages[:2] and other.filled == 64
    assert other.reserve(65) and other.pages[2] not in cache.pages
    pages.check([cache.pages, other.pages])


def test_a_dropped_cache_is_empty_and_can_be_filled_again() -> None:
    """After `drop` nothing is owned, the content stays known, and the same sequence finds it again."""
    pages, tokens = pool(), tuple(range(64))
    cache = KVCache(pages, SALT)
    assert cache.reserve(64)
    cache.keep(64, tokens)
    held = list(cache.pages)
    cache.drop()
    assert cache.filled == 0 and not cache.pages and pages.available == pages.size
    pages.check()
    cache.adopt(tokens)
    assert cache.pages == held and cache.filled == 64
    cache.keep(0, tokens)
    pages.check([cache.pages])
