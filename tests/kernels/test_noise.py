"""Laws of the sampling noise."""

from __future__ import annotations

import pytest
import torch

from kernels.noise import gumbel, philox

ALL = 0xFFFFFFFF
VECTORS = [
    ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ALL, ALL, ALL, ALL), (ALL << 32) | ALL, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0x299F31D0 << 32) | 0xA4093822,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), VECTORS)
def test_philox_vectors(counter: tuple[int, ...], key: int, words: tuple[int, ...]) -> None:
    """Philox 4x32-10 gives the known answers of its authors."""
    c0, c1, c2, c3 = (torch.tensor([word]) for word in counter)
    assert tuple(int(word) for word in philox((c0, c1, c2, c3), key)) == words


def test_noise_is_a_function_of_key_position_and_id() -> None:
    """Noise for one position and id is the same bits whatever else is asked for; another key or position differs."""
    table = gumbel(5, torch.arange(40), 200)
    assert torch.equal(gumbel(5, torch.tensor([9, 3]), 77), table[[9, 3], :77])
    assert not torch.equal(gumbel(6, torch.tensor([3]), 200)[0], table[3])
    assert not torch.equal(table[3], table[4])
    assert not torch.equal(gumbel(5, torch.tensor([3 + (1 << 32)]), 200)[0], table[3])


def test_noise_is_gumbel() -> None:
    """Mean, variance and the tail at 3 are those of the standard Gumbel law."""
    values = gumbel(1, torch.arange(64), 4096).double()
    assert abs(float(values.mean()) - 0.5772) < 0.01
    assert abs(float(values.var()) - 1.6449) < 0.03
    assert abs(float((values > 3).double().mean()) - 0.04857) < 0.002
    assert values.isfinite().all()
