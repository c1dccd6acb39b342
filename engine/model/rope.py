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
    """cos and sin, float32 [..., n, 1, head_dim], for absolute `positions` [..., n]."""
    angles = positions.to(torch.float32).unsqueeze(-1) * frequencies.to(torch.float32)
    doubled = torch.cat((angles, angles), dim=-1).unsqueeze(-2)
    return doubled.cos(), doubled.sin()


def half_turns(frequencies: Tensor, rope: RopeConfig, furthest: int) -> tuple[Tensor, Tensor, Tensor]:
    """For positions 0 to at least `furthest`, in whole chunks: cos and sin [P, D / 2] of half a head, query scales [P]."""
    positions = torch.arange((furthest // CHUNK + 1) * CHUNK)
    cos, sin = (part[:, 0, : len(frequencies)] for part in rotation(frequencies, positions))
    return cos, sin, query_scale(rope, positions)


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply the rotation to `heads` [..., n, H, head_dim]."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cos.to(heads.dtype) + torch.cat((-second, first), dim=-1) * sin.to(heads.dtype)


class RotaryTable:
    """cos and signed sin of every position served so far, made in chunks so that a value never depends on who asked first.

    Values are turned by an angle of zero, so that one rotation serves queries, keys and values alike.
    """

    def __init__(self, config: ModelConfig, dtype: torch.dtype) -> None:
        self._rope, self._queries = config.rope, config.num_attention_heads
        self._frequencies = inverse_frequencies(config.rope, config.head_dim)
        turned = config.num_attention_heads + config.num_key_value_heads
        self._kinds = torch.tensor([0] * turned + [1] * config.num_key_value_heads)
        self._table = torch.empty(0, 2, 2, config.head_dim, dtype=dtype)

    def at(self, positions: Tensor, furthest: int) -> tuple[Tensor, Tensor]:
        """cos and sin [R, Hq + 2 Hk, D] for int64 `positions` [R], none above `furthest`.

        The first half of sin is negated, for the half that is swapped in; queries carry the llama-4 scale.
        """
        while self._table.shape[0] <= furthest:
            self._grow()
        cos, sin = self._table.index_select(0, positions).index_select(2, self._kinds).unbind(1)
        if furthest >= self._rope.original_max_position:
            scale = query_scale(self._rope, positions)[:, None, None].to(cos.dtype)
            cos[:, : self._queries] *= scale
            sin[:, : self._queries] *= scale
        return cos, sin

    def _grow(self) -> None:
        """One chunk more, [CHUNK, cos and sin, turned and not, D]."""
        start = self._table.shape[0]
        cos, sin = rotation(self._frequencies, torch.arange(start, start + CHUNK))
        sin[..., : sin.shape[-1] // 2].neg_()
        still = torch.cat((torch.ones_like(cos), torch.zeros_like(sin)), dim=1)
        chunk = torch.stack((torch.cat((cos, sin), dim=1), still), dim=2)
        self._table = torch.cat((self._table, chunk.to(self._table.dtype)))


def turn(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate-half over `heads` [R, n, D] with `cos` and signed `sin` [R, n, D]."""
    rows, count, size = heads.shape
    swapped = heads.view(rows, count, 2, size // 2).flip(2).view(rows, count, size)
    return torch.addcmul(heads * cos, swapped, sin)
