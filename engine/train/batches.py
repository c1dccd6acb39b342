"""From conversations to tensors: as many rows go together as fit a budget of places.

The rows of one optimiser step are cut into microbatches whose gradients are added; which rows share one changes neither
the noise nor the weights of the loss, only memory and time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor

from engine.train.corpus import Example


class Scope(StrEnum):
    """Which next tokens are learnt: those of answers alone, or every one of a row, from which copying is learnt much sooner."""

    ANSWERS = "answers"
    ROWS = "rows"


@dataclass(frozen=True, slots=True)
class Batch:
    """tokens int64 [b, n], padded with the end token; prompts and ends int64 [b]: where answers begin and rows end."""

    tokens: Tensor
    prompts: Tensor
    ends: Tensor
    end_token: int

    @classmethod
    def of(cls, rows: Sequence[Example], end_token: int) -> Batch:
        """Pad `rows` to the longest; padding tells a noisy block nothing, since answers end with the same token."""
        length = max(len(row.ids) for row in rows)
        padded = [(*row.ids, *(end_token,) * (length - len(row.ids))) for row in rows]
        prompts, ends = [row.prompt_length for row in rows], [len(row.ids) for row in rows]
        return cls(torch.tensor(padded), torch.tensor(prompts), torch.tensor(ends), end_token)

    def to(self, device: torch.device) -> Batch:
        """The same on `device`."""
        return Batch(self.tokens.to(device), self.prompts.to(device), self.ends.to(device), self.end_token)

    def scored(self, scope: Scope = Scope.ANSWERS) -> Tensor:
        """Boolean [b, n]: the tokens that are predicted causally."""
        return self.inside() if scope is Scope.ROWS else (self._index() >= self.prompts[:, None]) & self.inside()

    def follows(self, scope: Scope = Scope.ANSWERS) -> Tensor:
        """Boolean [b, n]: the places whose next token is predicted causally."""
        return F.pad(self.scored(scope)[:, 1:], (0, 1))

    def inside(self) -> Tensor:
        """Boolean [b, n]: what is no padding."""
        return self._index() < self.ends[:, None]

    def _index(self) -> Tensor:
        return torch.arange(self.tokens.shape[1], device=self.tokens.device)


def grouped(costs: Sequence[int], budget: int) -> list[list[int]]:
    """Indices of rows by microbatch, dearest rows first; no group costs more than `budget` unless it is a single row."""
    groups: list[list[int]] = []
    filled = budget
    for index in sorted(range(len(costs)), key=lambda index: (-costs[index], index)):
        filled += costs[index]
        if filled > budget:
            groups.append([])
            filled = costs[index]
        groups[-1].append(index)
    return groups
