"""What a machine with a CUDA device is asked of the engine by `make bench-cuda`, asked here of the interpreter."""

from __future__ import annotations

import pytest
import torch

from tests.bench.engine_laws import EngineLaws
from tests.engine.harness import loaded
from tests.engine.small import small_network


@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", range(4))
def test_the_laws_of_the_engine_hold_here(place: int) -> None:
    """Over the kernels, speculation is lossless, company changes nothing, runs repeat, and the LoRA drafts."""
    # One layer has every kernel, and the interpreter is slow.
    drafting, bare = (loaded(small_network(layers=1, lora=lora)) for lora in (True, False))
    law = list(EngineLaws(drafting, bare, torch.device("cpu"), torch.float32, 3).all())[place]
    assert law.broken() is None
