"""Rotary positions of the family: YaRN frequencies, attention factor 1, llama-4 query scale.

A generic YaRN would also multiply cos and sin by 0.1 ln(factor) + 1; here mscale equals mscale_all_dim, so that factor is
exactly 1 and applying it is a known bug of other loaders. Layout is rotate-half (first half, second half).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.config import RopeConfig


def inverse_frequencies(rope: RopeConfig, head_dim: int) -> Tensor:
    """YaRN inverse frequencies, float64 [head_dim / 2] (Peng et al. 2023, section 3.2)."""
    index = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
    extrapolated = rope.theta**-index
    low = max(math.floor(_correction(rope, head_dim, rope.beta_fast)), 0)
    high = min(math.ceil(_correction(rope, head_dim, rope.beta_slow)), head_dim - 1)
    steps = torch.arange(head_dim // 2, dtype=torch.float64)
    ramp = ((steps - low) / max(high - low, 1e-3)).clamp(0, 1)
    return extrapolated * ((1 - ramp) + ramp / rope.factor)


def _correction(rope: RopeConfig, head_dim: int, rotations: float) -> float:
    """The dimension whose wavelength makes `rotations` turns within the original context."""
    ratio = rope.original_max_position / (2 * math.pi * rotations)
    return head_dim * math.log(ratio) / (2 * math.log(rope.theta))


def query_scale(rope: RopeConfig, positions: Tensor) -> Tensor:
    """1 + beta ln(1 + floor(position / original context)), float32, the shape of `positions`; queries only."""
    turns = torch.floor(positions.to(torch.float32) / rope.original_max_position)
    return 1 + rope.query_scale_beta * torch.log1p(turns)


def rotation(frequencies: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin, float32 [..., n, 1, head_dim], for absolute `positions` [..., n]."""
    angles = positions.to(torch.float32).unsqueeze(-1) * frequencies.to(torch.float32)
    doubled = torch.cat((angles, angles), dim=-1).unsqueeze(-2)
    return doubled.cos(), doubled.sin()


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply the rotation to `heads` [..., n, H, head_dim]."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cos.to(heads.dtype) + torch.cat((-second, first), dim=-1) * sin.to(heads.dtype)
