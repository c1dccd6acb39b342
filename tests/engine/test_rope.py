"""Rotary positions against the published vectors of the family (facts sheet of the model, section 1.2)."""

from __future__ import annotations

import math

import pytest
import torch

from engine.config import RopeConfig
from engine.model.rope import inverse_frequencies, query_scale, rotate, rotation

VECTORS = {
    "8B": (
        1e6, 16.0,
        [8.05842188e-1, 3.16227766e-2, 4.38295445e-3, 3.38235294e-4,
         1.11142463e-5, 1.28345314e-6, 7.75586100e-8],
        5.13512938,
    ),
    "14B": (
        1e9, 16.0,
        [7.23394163e-1, 4.30542577e-3, 5.93010708e-5, 1.97642354e-6,
         1.48210857e-7, 5.81607526e-9, 8.63982642e-11],
        3.60450523,
    ),
    "3B-Base": (
        1e6, 0.25,
        [8.05842188e-1, 3.16227766e-2, 9.59288143e-3, 3.11764706e-3,
         7.11311764e-4, 8.21410011e-5, 4.96375104e-6],
        5.19945210,
    ),
}  # fmt: skip
INDICES = [1, 16, 24, 32, 40, 50, 63]


@pytest.mark.parametrize("size", VECTORS)
def test_inverse_frequencies_match_the_vectors(size: str) -> None:
    """YaRN frequencies equal the reference values at every size, a factor below one included."""
    theta, factor, expected, total = VECTORS[size]
    found = inverse_frequencies(RopeConfig(theta, factor, 16384), 128)
    assert found[0].item() == 1.0
    assert found[INDICES].tolist() == pytest.approx(expected, rel=1e-8)
    assert found.sum().item() == pytest.approx(total, rel=1e-8)


def test_query_scale_steps_with_the_original_context() -> None:
    """The llama-4 scale is 1 below 16,384 and grows by the logarithm of whole contexts passed."""
    scale = query_scale(RopeConfig(1e6, 16.0, 16384), torch.tensor([0, 16383, 16384, 32768]))
    assert scale.tolist() == pytest.approx([1.0, 1.0, 1 + 0.1 * math.log(2), 1 + 0.1 * math.log(3)], rel=1e-6)


def test_rotation_keeps_length_and_relative_angle() -> None:
    """A rotation has attention factor one, and scores depend only on the distance of two positions."""
    frequencies = inverse_frequencies(RopeConfig(1e6, 16.0, 16384), 32)
    torch.manual_seed(0)
    query, key = torch.randn(1, 1, 32), torch.randn(1, 1, 32)

    def turned(heads: torch.Tensor, position: int) -> torch.Tensor:
        return rotate(heads, *rotation(frequencies, torch.tensor([position])))

    assert turned(query, 77).norm().item() == pytest.approx(query.norm().item(), rel=1e-5)
    near = (turned(query, 9) * turned(key, 4)).sum().item()
    far = (turned(query, 105) * turned(key, 100)).sum().item()
    assert near == pytest.approx(far, rel=1e-4, abs=1e-5)
