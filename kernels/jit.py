"""Triton, where there is one, and one build of a kernel.

Triton exists on Linux alone and runs on a CUDA device. Its interpreter (`TRITON_INTERPRET=1` before the first import) runs the
same kernels on a CPU, slowly and in float32 only: it rounds bfloat16 wrongly without a word. Everybody else gets the
definition that stands above each kernel.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["HAS_TRITON", "INTERPRETED", "Build", "jit", "room", "runs", "tl", "within_reach"]

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

try:
    import triton
    import triton.language as tl

    jit: Callable[[Callable[..., Any]], Any] = triton.jit
    HAS_TRITON = True
except ImportError:
    tl = None
    HAS_TRITON = False

    def jit(kernel: Callable[..., Any]) -> Any:
        """A kernel that nobody here can run."""
        return kernel


def within_reach(x: Tensor) -> bool:
    """Whether a kernel, not its definition, can read `x` where it lies."""
    return HAS_TRITON and (INTERPRETED or x.is_cuda)


def runs(x: Tensor) -> bool:
    """Whether a kernel is to compute with the numbers `x`: in a tensor core's dtypes, and when interpreted in float32."""
    return within_reach(x) and x.dtype in ((torch.float32,) if INTERPRETED else (torch.bfloat16, torch.float16))


def room(size: int, least: int = 1) -> int:
    """The power of two that holds `size`: Triton's tiles have no other sides, and those of a product at least 16."""
    return max(least, 1 << (size - 1).bit_length())


@dataclass(frozen=True, slots=True)
class Build:
    """A kernel with its compile-time constants, warps and stages of loads in flight.

    Products and sums are never contracted outside the tensor cores: where a compiler contracts depends on the shape of the
    loop around, and a row's bits would depend on it too.
    """

    kernel: Any
    constants: Mapping[str, float]
    warps: int = 4
    stages: int = 3

    @property
    def options(self) -> dict[str, int | bool]:
        """As Triton's compiler takes them."""
        return {"num_warps": self.warps, "num_stages": self.stages, "enable_fp_fusion": False}

    def launch(self, grid: tuple[int, ...], *arguments: Tensor | float) -> None:
        """Run it over `grid` on contiguous tensors; an empty grid is no work."""
        if all(grid):
            self.kernel[grid](*arguments, **self.constants, **self.options)
