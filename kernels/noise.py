"""Sampling noise that is a pure function of (key, absolute position, token id).

One Gumbel value per candidate token, from Philox 4x32-10 (Salmon et al. 2011) in plain integer operations, so that any device
can make the same bits. Counter: (token id // 4, position low, position high, 0); the word token id % 4 is the token's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.jit import Build, jit, tl, within_reach

_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_WORD = 0xFFFFFFFF
_LANES = 32
_BLOCK = 512


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ten rounds of Philox 4x32 over int64 tensors of 32-bit words; `low` and `high` are the words of the keys."""
    c0, c1, c2, c3 = counter
    for _ in range(10):
        first, second = c0 * _M0, c2 * _M1
        c0, c1 = ((second >> 32) & _WORD) ^ c1 ^ low, second & _WORD
        c2, c3 = ((first >> 32) & _WORD) ^ c3 ^ high, first & _WORD
        low, high = (low + _W0) & _WORD, (high + _W1) & _WORD
    return c0, c1, c2, c3


def gumbel_reference(keys: Tensor, positions: Tensor, vocab: int) -> Tensor:
    """The definition: standard Gumbel noise, float32 [n, vocab], for int64 `positions` [n] under the 64-bit `keys` [n].

    -ln(-ln u) with u = (word + 1/2) / 2^32, in float64; lanes are whole vectors, so no element takes a scalar path.
    """
    lanes = torch.arange(-(-vocab // (4 * _LANES)) * _LANES, dtype=torch.int64, device=keys.device).expand(len(positions), -1)
    where, key = positions[:, None], keys[:, None]
    zero = torch.zeros_like(where)
    words = philox((lanes, where & _WORD, (where >> 32) & _WORD, zero), key & _WORD, (key >> 32) & _WORD)
    uniform = (torch.stack(words, dim=-1).to(torch.float64) + 0.5) / 2.0**32
    return (-(-uniform.log()).log()).to(torch.float32).flatten(1)[:, :vocab]


@jit
def noise_at(token: tl.tensor, position: tl.tensor, key: tl.tensor) -> tl.tensor:
    """The noise of int32 `token` [1, n] at int64 `position` [m, 1] under int64 `key` [m, 1]: float32 [m, n], for kernels."""
    c0, c1 = (token // 4 + (position * 0).to(tl.int32)).to(tl.uint32), (position + (token * 0)).to(tl.uint32)
    c2, c3 = (position >> 32).to(tl.uint32) + c0 * 0, c0 * 0
    low, high = key.to(tl.uint32), (key >> 32).to(tl.uint32)
    for _ in tl.static_range(10):
        first, second = tl.umulhi(c0, c0 * 0 + 0xD2511F53), tl.umulhi(c2, c0 * 0 + 0xCD9E8D57)
        third, fourth = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = second ^ c1 ^ low, fourth, first ^ c3 ^ high, third
        low, high = low + 0x9E3779B9, high + 0xBB67AE85
    lane = token % 4
    word = tl.where(lane == 0, c0, tl.where(lane == 1, c1, tl.where(lane == 2, c2, c3)))
    uniform = (word.to(tl.float64) + 0.5) / 4294967296.0
    return (-tl.log(-tl.log(uniform))).to(tl.float32)


@jit
def _gumbel(keys: tl.tensor, positions: tl.tensor, out: tl.tensor, vocab: tl.constexpr, block: tl.constexpr) -> None:
    row, token = tl.program_id(0), (tl.program_id(1) * block + tl.arange(0, block))[None, :]
    one = tl.arange(0, 1)[:, None]
    found = noise_at(token, tl.load(positions + row + one), tl.load(keys + row + one))
    tl.store(out + row.to(tl.int64) * vocab + one + token, found, mask=token < vocab)


def build(vocab: int) -> Build:
    """The kernel for this vocabulary."""
    return Build(_gumbel, {"vocab": vocab, "block": _BLOCK})


def kernel_gumbel(keys: Tensor, positions: Tensor, vocab: int) -> Tensor:
    """The definition by the kernel: the same words, and two logarithms in float64 that are rounded to float32 once."""
    out = torch.empty(len(keys), vocab, dtype=torch.float32, device=keys.device)
    build(vocab).launch((len(keys), -(-vocab // _BLOCK)), keys, positions, out)
    return out


def gumbel(keys: Tensor, positions: Tensor, vocab: int) -> Tensor:
    """Standard Gumbel noise, float32 [n, vocab], for int64 `positions` [n] under the 64-bit `keys` [n] (as signed int64)."""
    return (kernel_gumbel if within_reach(keys) else gumbel_reference)(keys, positions, vocab)
