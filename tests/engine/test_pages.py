"""Laws of pages and caches: one state each, prefixes shared only where they may be, rollback by one integer."""

from __future__ import annotations

import pytest
import torch

from engine.cache import KVCache
from engine.errors import PageFault
from engine.pages import PAGE, PagePool, prefix_salt
from tests.engine.harness import snapshot
from tests.engine.small import small_config

TOKENS = tuple(range(5 * PAGE))


def pool(pages: int = 8) -> PagePool:
    """A small pool."""
    return PagePool(small_config(), pages, torch.float32)


def kept(pages: PagePool, tokens: tuple[int, ...], salt: bytes = b"") -> KVCache:
    """A cache that holds `tokens`, known prefixes taken up."""
    cache = KVCache(pages, salt)
    cache.adopt(tokens)
    assert cache.reserve(len(tokens))
    cache.keep(len(tokens) - cache.filled, tokens)
    return cache


def test_a_fresh_pool_is_finite_and_whole() -> None:
    """Fresh slots hold zeros, so a masked slot can never poison a sum; all pages are free."""
    pages = pool()
    assert not pages.kv.any() and pages.available == 8
    pages.check()


def test_neighbours_are_preferred() -> None:
    """A cache that grows alone gets pages side by side."""
    pages = pool()
    pages.take(3)
    cache = KVCache(pages, b"")
    for positions in (1, PAGE, PAGE + 1, 3 * PAGE):
        assert cache.reserve(positions)
    assert cache.pages == [4, 5, 6]


def test_a_known_prefix_is_taken_up() -> None:
    """Whole pages of a committed beginning are shared, with a reference each, and nothing beyond the first difference."""
    pages = pool()
    first = kept(pages, TOKENS[: 3 * PAGE + 5])
    second = kept(pages, (*TOKENS[: 2 * PAGE], *TOKENS[:9]))
    assert second.pages[:2] == first.pages[:2] and second.pages[2] != first.pages[2]
    pages.check([first.pages, second.pages])
    first.drop()
    pages.check([second.pages])
    third = KVCache(pages, b"")
    third.adopt(TOKENS)
    assert third.filled == 3 * PAGE
    pages.check([second.pages, third.pages])


def test_prefixes_are_private_to_their_salt() -> None:
    """Another tenant, other weights or other numerics never see a page, and salts of different parts differ."""
    pages = pool()
    kept(pages, TOKENS[: 2 * PAGE], b"one")
    other = KVCache(pages, b"two")
    other.adopt(TOKENS)
    assert other.filled == 0 and not other.pages
    parts = [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("", "ab", "c")]
    assert len({prefix_salt(*each) for each in parts}) == 4


def test_a_page_is_known_only_by_its_whole_past() -> None:
    """The same tokens behind another beginning are another page."""
    pages = pool()
    kept(pages, TOKENS[: 2 * PAGE])
    other = KVCache(pages, b"")
    other.adopt((*TOKENS[PAGE : 2 * PAGE], *TOKENS[PAGE : 2 * PAGE]))
    assert other.filled == 0


def test_a_hit_compares_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if two chains had one hash, other tokens would not be served."""
    monkeypatch.setattr("engine.pages.chain_hash", lambda parent, tokens: b"same")
    monkeypatch.setattr("engine.cache.chain_hash", lambda parent, tokens: b"same")
    pages = pool()
    kept(pages, TOKENS[:PAGE])
    other = KVCache(pages, b"")
    other.adopt(TOKENS[PAGE : 2 * PAGE])
    assert other.filled == 0


def test_the_longest_unused_goes_first() -> None:
    """Cached pages are evicted in the order of their release, and of one sequence the last page first."""
    pages = pool(4)
    old, young = kept(pages, TOKENS[: 2 * PAGE]), kept(pages, tuple(reversed(TOKENS[: 2 * PAGE])))
    gone = old.pages[1], old.pages[0], young.pages[1], young.pages[0]
    old.drop()
    young.drop()
    assert pages.available == 4
    assert [page for _ in range(4) for page in pages.take(1) or ()] == list(gone)


def test_others_find_only_what_is_filled() -> None:
    """Rows above `filled` are no part of the cache, and only full pages of what is filled are known to others."""
    pages = pool()
    cache = KVCache(pages, b"")
    assert cache.reserve(3 * PAGE)
    cache.keep(PAGE - 1, TOKENS)
    assert snapshot(cache).shape[1] == PAGE - 1
    early = KVCache(pages, b"")
    early.adopt(TOKENS)
    assert early.filled == 0
    cache.keep(1, TOKENS)
    early.adopt(TOKENS)
    assert early.filled == PAGE


def test_spoilt_pages_are_zeroed_and_forgotten() -> None:
    """Pages that held bad numbers are found by nobody and hold zeros, but a page that another cache holds stays."""
    pages = pool()
    shared = kept(pages, TOKENS[:PAGE])
    bad = kept(pages, TOKENS[: 3 * PAGE])
    pages.kv[:, bad.pages] = torch.nan
    pages.kv[:, shared.pages] = 1.0
    bad.spoil()
    assert not pages.kv[:, bad.pages[1:]].any() and bool((pages.kv[:, shared.pages] == 1).all())
    bad.drop()
    later = KVCache(pages, b"")
    later.adopt(TOKENS)
    assert later.filled == PAGE
    pages.check([shared.pages, later.pages])


def test_a_lost_page_is_noticed() -> None:
    """A page that no table and no list names is a fault, and so is a reference too many."""
    pages = pool()
    taken = pages.take(1) or []
    with pytest.raises(PageFault, match="lost count"):
        pages.check()
    pages.check([taken])
    with pytest.raises(PageFault, match="lost count"):
        pages.check([taken, taken])
