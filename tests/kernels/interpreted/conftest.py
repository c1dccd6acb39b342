"""Kernels in Triton's interpreter, which must be on before Triton is imported: `tests/kernels/test_interpreted.py` runs this
folder in a process of its own, `TRITON_INTERPRET=1 python -m pytest tests/kernels/interpreted` does it by hand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import Phase, settings
from torch import Tensor

from kernels.jit import INTERPRETED
from tests.kernels.interpreted.walls import WALL, poison, poisoned

collect_ignore_glob = [] if INTERPRETED else ["test_*.py"]

# A failure is told as it is found: the interpreter would take minutes to make it smaller.
settings.register_profile("interpreted", deadline=None, phases=(Phase.explicit, Phase.generate))
if INTERPRETED:
    settings.load_profile("interpreted")


@pytest.fixture(autouse=True)
def walls(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every buffer that a kernel gets is full of poison and has walls of it, which must stand when the test is over."""
    built: list[Tensor] = []

    def empty(*shape: object, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Tensor:
        sizes = torch.Size(shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)  # type: ignore[arg-type]
        count = math.prod(sizes)
        kind = dtype or torch.get_default_dtype()
        whole = torch.full((count + 2 * WALL,), poison(kind), dtype=kind, device=device)
        built.append(whole)
        return whole[WALL : WALL + count].view(sizes)

    monkeypatch.setattr(torch, "empty", empty)
    yield
    for whole in built:
        assert poisoned(whole[:WALL]).all() and poisoned(whole[-WALL:]).all()
