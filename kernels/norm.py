"""Root-mean-square norm (Zhang and Sennrich 2019), and a quick way to it.

On a CUDA device one kernel adds what a block of the network found to the residual stream and norms the sum for the next one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor

from kernels.jit import Build, jit, room, runs, tl


def rms_norm_reference(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The definition: x [..., H] / sqrt(mean(x^2) + eps) * weight [H], the mean in float32."""
    return F.rms_norm(x, weight.shape, weight, eps)


def add_rms_norm_reference(x: Tensor, found: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The definition: the sum of x and `found` [R, H], and its norm."""
    total = x + found
    return total, rms_norm_reference(total, weight, eps)


@jit
def _add_norm(
    x: tl.tensor,
    found: tl.tensor,
    weight: tl.tensor,
    total: tl.tensor,
    normed: tl.tensor,
    size: tl.constexpr,
    size_room: tl.constexpr,
    eps: tl.constexpr,
) -> None:
    lane = tl.arange(0, size_room)
    inside = lane < size
    place = tl.program_id(0).to(tl.int64) * size + lane
    one, other = tl.load(x + place, mask=inside, other=0.0), tl.load(found + place, mask=inside, other=0.0)
    # Rounded as it is stored, so that the norm is that of the stream which the next block will see.
    kept = (one.to(tl.float32) + other.to(tl.float32)).to(total.dtype.element_ty)
    tl.store(total + place, kept, mask=inside)
    wide = kept.to(tl.float32)
    shrink = tl.rsqrt(tl.sum(wide * wide, 0) / size + eps)
    scaled = wide * shrink * tl.load(weight + lane, mask=inside, other=0.0).to(tl.float32)
    tl.store(normed + place, scaled.to(normed.dtype.element_ty), mask=inside)


def build(size: int, eps: float) -> Build:
    """The kernel for rows of `size` numbers."""
    return Build(_add_norm, {"size": size, "size_room": room(size), "eps": eps}, warps=8)


def kernel_add_rms_norm(x: Tensor, found: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The definition by the kernel, one row a program."""
    total = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    normed = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    build(x.shape[1], eps).launch((len(x),), x, found, weight, total, normed)
    return total, normed


def add_rms_norm(x: Tensor, found: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The residual stream x [R, H] plus what a block `found`, and the norm of the sum, scaled by `weight` [H]."""
    return (kernel_add_rms_norm if runs(x) else add_rms_norm_reference)(x, found, weight, eps)
