"""From logits to tokens.

A pick is a pure function of one row of logits, the temperature, the sampling key and the absolute position of the token to be
picked: the highest logit at temperature 0, else the highest of logit / temperature + Gumbel noise (an exact softmax sample,
Gumbel 1954). Ties go to the lowest id. A draft and its verification use the same noise. The mask id is never picked.
Log-probabilities and confidences are those of the raw logits at temperature 1, rounded to float32.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import NumericFault
from engine.request import Sampling
from kernels.noise import gumbel

_REMEMBERED = 128


def sampling_key(sampling: Sampling) -> int:
    """H(seed, choice): the first 64 bits of SHA-256 over the seed (8 bytes) and the choice (4 bytes), big-endian."""
    digest = hashlib.sha256(sampling.seed.to_bytes(8, "big") + sampling.choice.to_bytes(4, "big")).digest()
    return int.from_bytes(digest[:8], "big")


@dataclass(frozen=True, slots=True)
class Picks:
    """One picked id per row, with its log-probability."""

    ids: tuple[int, ...]
    logprob: tuple[float, ...]

    @property
    def confidence(self) -> tuple[float, ...]:
        """The probability of each pick."""
        return tuple(torch.tensor([math.exp(value) for value in self.logprob], dtype=torch.float32).tolist())


class Sampler:
    """The picks of one generation. It remembers recent noise, which a draft and its verification share."""

    __slots__ = ("_key", "_mask_id", "_noise", "_temperature")

    def __init__(self, sampling: Sampling, mask_id: int) -> None:
        self._temperature = sampling.temperature
        self._key = sampling_key(sampling)
        self._mask_id = mask_id
        self._noise: dict[int, Tensor] = {}

    def pick(self, logits: Tensor, positions: Sequence[int]) -> Picks:
        """Pick for float32 logits [n, V] the tokens at n absolute `positions`. Raises NumericFault on non-finite logits."""
        if not len(positions):
            return Picks((), ())
        scores = logits if self._temperature == 0 else logits / self._temperature + self._noise_at(positions, logits.shape[1])
        scores = scores.index_fill(1, torch.tensor([self._mask_id]), -math.inf)
        ids = scores.argmax(dim=-1).tolist()
        return Picks(tuple(ids), self.score(logits, ids))

    def score(self, logits: Tensor, ids: Sequence[int]) -> tuple[float, ...]:
        """Log-probability of `ids` [n] under logits [n, V]. Raises NumericFault on non-finite logits."""
        chosen = torch.tensor(ids, dtype=torch.int64)[:, None]
        values = torch.log_softmax(logits, dim=-1).gather(1, chosen).flatten().tolist()
        if not all(map(math.isfinite, values)):
            raise NumericFault("the network gave logits that are not finite: check the checkpoint's weights")
        return tuple(values)

    def _noise_at(self, positions: Sequence[int], vocab: int) -> Tensor:
        missing = [position for position in positions if position not in self._noise]
        if missing:
            if len(self._noise) > _REMEMBERED:
                self._noise = {position: self._noise[position] for position in positions if position in self._noise}
            fresh = gumbel(self._key, torch.tensor(missing, dtype=torch.int64), vocab)
            self._noise.update(zip(missing, fresh, strict=True))
        return torch.stack([self._noise[position] for position in positions])
