"""What a machine with a CUDA device is asked by `make bench-cuda`, asked here of the interpreter."""

from __future__ import annotations

import torch

from tests.bench.kernels import ODD, Laws
from tests.bench.laws import judge


def test_the_laws_of_a_device_hold_here() -> None:
    """Every law that a device must keep is kept in float32, and is said to be."""
    said: list[str] = []
    assert judge(Laws(ODD, torch.device("cpu"), torch.float32).all(), said.append) == 0
    assert len(said) == 5 and all(line.startswith("held: ") for line in said)
