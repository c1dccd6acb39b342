"""Rotary positions of the family: YaRN frequencies, attention factor 1, llama-4 query scale.

A generic YaRN would also multiply cos and sin by 0.1 ln(factor) + 1; here mscale equals mscale_all_dim, so that factor is
exactly 1 and applying it is a known bug of other loaders. Layout is rotate-half (first half, second half).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.config import ModelConfig, RopeConfig

CHUNK = 1024
"""Positions by which tables of rotations grow."""
_ON = torch.device("cpu")
"""Where frequencies are computed, also for a network on the meta device: an `arange` there makes torch import its compiler."""


def inverse_frequencies(rope: RopeConfig, head_dim: int) -> Tensor:
    """YaRN inverse frequencies, float64 [head_dim / 2] (Peng et al. 2023, section 3.2)."""
    index = torch.arange(0, head_dim, 2, dtype=torch.float64, device=_ON) / head_dim
    extrapolated = rope.theta**-index
    low = max(math.floor(_correction(rope, head_dim, rope.beta_fast)), 0)
    high = min(math.ceil(_correction(rope, head_dim, rope.beta_slow)), head_dim - 1)
    steps = torch.arange(head_dim // 2, dtype=torch.float64, device=_ON)
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
    """cos and sin, float32 [..., n, 1, head_dim], for absolute `positions` [..., n], as `rotate` takes them.

    The first half of sin is negated, for the half that is swapped in.
    """
    angles = positions.to(torch.float32).unsqueeze(-1) * frequencies.to(torch.float32)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1).unsqueeze(-2), torch.cat((-sin, sin), dim=-1).unsqueeze(-2)


def half_turns(frequencies: Tensor, rope: RopeConfig, furthest: int) -> tuple[Tensor, Tensor, Tensor]:
    """For positions 0 to at least `furthest`, in whole chunks: cos and sin [P, D / 2] of half a head, query scales [P]."""
    positions = torch.arange((furthest // CHUNK + 1) * CHUNK)
    cos, sin = (part[:, 0, len(frequencies) :] for part in rotation(frequencies, positions))
    return cos, sin, query_scale(rope, positions)


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply the rotation to `heads` [..., n, H, head_dim]."""
    swapped = heads.roll(heads.shape[-1] // 2, dims=-1)
    return torch.addcmul(heads * cos.to(heads.dtype), swapped, sin.to(heads.dtype))


def turns(config: ModelConfig, frequencies: Tensor, positions: Tensor, dtype: torch.dtype) -> Tensor:
    """cos and sin [2, R, Hq + 2 Hk, D] of queries, keys and values at int64 `positions` [R], as `rotate` takes them.

    Queries carry the llama-4 scale. Values are turned by an angle of zero, so that one rotation serves all three.
    """
    keys = torch.stack(rotation(frequencies, positions))
    queries = keys * query_scale(config.rope, positions)[:, None, None]
    values = torch.tensor((1.0, 0.0)).view(2, 1, 1, 1).expand_as(keys)
    counts = (config.num_attention_heads, config.num_key_value_heads, config.num_key_value_heads)
    kinds = zip((queries, keys, values), counts, strict=True)
    return torch.cat([kind.to(dtype).expand(-1, -1, count, -1) for kind, count in kinds], dim=2)
