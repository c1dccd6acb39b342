"""Laws of the sampling noise."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kernels.noise import gumbel, philox

ALL = 0xFFFFFFFF
VOCABS = st.integers(1, 300)
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
    low, high = torch.tensor([key & ALL]), torch.tensor([key >> 32])
    assert tuple(int(word) for word in philox((c0, c1, c2, c3), low, high)) == words


def noise(key: int, positions: list[int], vocab: int) -> Tensor:
    """Noise of one key at some positions, [n, vocab]."""
    return gumbel(torch.tensor([key] * len(positions)), torch.tensor(positions), vocab)


def test_noise_is_a_function_of_key_position_and_id() -> None:
    """Noise for one position and id is the same bits whatever else is asked for; another key or position differs."""
    table = noise(5, list(range(40)), 200)
    assert torch.equal(noise(5, [9, 3], 77), table[[9, 3], :77])
    assert not torch.equal(noise(6, [3], 200)[0], table[3])
    assert not torch.equal(table[3], table[4])
    assert not torch.equal(noise(5, [3 + (1 << 32)], 200)[0], table[3])
    assert not torch.equal(noise(5 + (1 << 32), [3], 200)[0], table[3])


@given(st.lists(st.tuples(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 1 << 40)), min_size=1, max_size=40), VOCABS)
def test_noise_does_not_feel_its_batch(rows: list[tuple[int, int]], vocab: int) -> None:
    """A row of any batch, with any keys beside it and any width of vocabulary, is bit for bit the row alone."""
    keys, positions = (torch.tensor(part) for part in zip(*rows, strict=True))
    together = gumbel(keys, positions, vocab)
    for row, (key, position) in enumerate(rows):
        assert torch.equal(noise(key, [position], 300)[0, :vocab], together[row])


def test_noise_is_gumbel() -> None:
    """Mean, variance and the tail at 3 are those of the standard Gumbel law."""
    values = noise(1, list(range(64)), 4096).double()
    assert abs(float(values.mean()) - 0.5772) < 0.01
    assert abs(float(values.var()) - 1.6449) < 0.03
    assert abs(float((values > 3).double().mean()) - 0.04857) < 0.002
    assert values.isfinite().all()
