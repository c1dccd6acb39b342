"""Sampling noise that is a pure function of (key, absolute position, token id).

One Gumbel value per candidate token, from Philox 4x32-10 (Salmon et al. 2011) in plain integer operations, so that any device
can make the same bits. Counter: (token id // 4, position low, position high, 0); the word token id % 4 is the token's.
"""

from __future__ import annotations

import torch
from torch import Tensor

_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_WORD = 0xFFFFFFFF
_LANES = 32


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ten rounds of Philox 4x32 over int64 tensors of 32-bit words; `low` and `high` are the words of the keys."""
    c0, c1, c2, c3 = counter
    for _ in range(10):
        first, second = c0 * _M0, c2 * _M1
        c0, c1 = ((second >> 32) & _WORD) ^ c1 ^ low, second & _WORD
        c2, c3 = ((first >> 32) & _WORD) ^ c3 ^ high, first & _WORD
        low, high = (low + _W0) & _WORD, (high + _W1) & _WORD
    return c0, c1, c2, c3


def gumbel(keys: Tensor, positions: Tensor, vocab: int) -> Tensor:
    """Standard Gumbel noise, float32 [n, vocab], for int64 `positions` [n] under the 64-bit `keys` [n] (as signed int64).

    -ln(-ln u) with u = (word + 1/2) / 2^32, in float64; lanes are whole vectors, so no element takes a scalar path.
    """
    lanes = torch.arange(-(-vocab // (4 * _LANES)) * _LANES, dtype=torch.int64).expand(len(positions), -1)
    where, key = positions[:, None], keys[:, None]
    zero = torch.zeros_like(where)
    words = philox((lanes, where & _WORD, (where >> 32) & _WORD, zero), key & _WORD, (key >> 32) & _WORD)
    uniform = (torch.stack(words, dim=-1).to(torch.float64) + 0.5) / 2.0**32
    return (-(-uniform.log()).log()).to(torch.float32).flatten(1)[:, :vocab]
