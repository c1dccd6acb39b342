"""What fits on a device, by its figures; and what a machine without one says."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.engine import Engine
from engine.errors import DoesNotFit
from engine.memory import LEAST_PAGES, SPARE, fitted, fitting_pages, page_bytes, weight_bytes, work_bytes
from engine.model.checkpoint import load
from engine.model.network import HOST
from engine.pages import PagePool
from engine.scheduler import Capacity
from tests.engine.small import TINY, small_config, small_network

CONFIG, HALF = small_config(), torch.bfloat16
GIB = 1 << 30


def test_a_page_takes_what_its_pool_takes() -> None:
    """`page_bytes` is what the pool's tensor holds for a page, in every layer."""
    pool = PagePool(CONFIG, 7, HALF)
    assert pool.kv.nbytes == 8 * page_bytes(CONFIG, HALF)


def test_weights_take_what_they_take() -> None:
    """`weight_bytes` counts every parameter, the drafter's too."""
    network = small_network()
    assert weight_bytes(network, HALF) == sum(each.to(HALF).nbytes for each in network.parameters())


@given(st.integers(0, 200 * GIB), st.integers(0, 200 * GIB), st.integers(0, 100 * GIB))
def test_pages_never_take_more_than_there_is(total: int, used: int, weights: int) -> None:
    """Weights, pages, the scratch page, what a pass needs and a tenth of the device fit, and no page more; or it refuses."""
    free, page = max(0, total - used), page_bytes(CONFIG, HALF)
    beside = weights + int(SPARE * total) + work_bytes(CONFIG)
    if beside + (LEAST_PAGES + 1) * page > free:
        with pytest.raises(DoesNotFit, match=r"of .* GiB free and this model needs"):
            fitting_pages(CONFIG, HALF, free, total, weights)
        return
    pages = fitting_pages(CONFIG, HALF, free, total, weights)
    assert beside + (pages + 1) * page <= free < beside + (pages + 2) * page


def test_the_host_keeps_its_capacity() -> None:
    """Memory of the host is claimed as it is used, so nothing is measured there."""
    capacity = Capacity(pages=9)
    assert fitted(CONFIG, torch.float32, HOST, capacity) is capacity


def test_a_device_that_is_not_there_is_named() -> None:
    """An engine for a missing device refuses with what to do, before anything is moved; its weights were read in bfloat16."""
    model = load(TINY, device="cuda:99")
    assert {each.dtype for each in model.network.parameters()} == {HALF}
    with pytest.raises(DoesNotFit, match=r"cuda:99 is not here: torch .* finds \d+ CUDA devices"):
        Engine(model)
