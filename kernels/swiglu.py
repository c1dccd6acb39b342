"""The gate of the feed-forward block (SwiGLU, Shazeer 2020): silu of one half of a row times the other half."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor

from kernels.jit import Build, jit, runs, tl

BLOCK = 1024


def silu_mul_reference(opened: Tensor) -> Tensor:
    """The definition: silu(gate) * up of `opened` [R, 2 I], the gate in front -> [R, I]."""
    gate, up = opened.chunk(2, dim=-1)
    return F.silu(gate) * up


@jit
def _silu_mul(opened: tl.tensor, out: tl.tensor, inner: tl.constexpr, block: tl.constexpr) -> None:
    row, lane = tl.program_id(0).to(tl.int64), tl.program_id(1) * block + tl.arange(0, block)
    inside = lane < inner
    gate = tl.load(opened + row * 2 * inner + lane, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(opened + row * 2 * inner + inner + lane, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * inner + lane, (gate / (1 + tl.exp(-gate)) * up).to(out.dtype.element_ty), mask=inside)


def build(inner: int) -> Build:
    """The kernel for `inner` results a row."""
    return Build(_silu_mul, {"inner": inner, "block": BLOCK})


def kernel_silu_mul(opened: Tensor) -> Tensor:
    """The definition by the kernel."""
    rows, inner = opened.shape[0], opened.shape[1] // 2
    out = torch.empty(rows, inner, dtype=opened.dtype, device=opened.device)
    build(inner).launch((rows, -(-inner // BLOCK)), opened, out)
    return out


def silu_mul(opened: Tensor) -> Tensor:
    """silu(gate) * up of `opened` [R, 2 I] -> [R, I]."""
    return (kernel_silu_mul if runs(opened) else silu_mul_reference)(opened)
