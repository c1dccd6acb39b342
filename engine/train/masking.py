"""Which answer tokens become masks: the family's noise, and the forms in which decoding meets a block.

Everything here is about one row of the noisy stream, a whole number of blocks long. A row's noise follows from the
generator it is given and from nothing else, so how rows are batched never changes what is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

_EPSILON = 1e-3


class Ratio(StrEnum):
    """For what one mask ratio is drawn: the whole row, as the family does, or every block by itself."""

    ROW = "row"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Masking:
    """How blocks are corrupted: shares of draft form (first token known) and of wholly masked blocks; the rest by ratio.

    `seeded_share` of all blocks are drawn by ratio and keep their first token, as seeded denoising has it at every step.
    """

    draft_share: float = 0.5
    full_share: float = 0.15
    ratio: Ratio = Ratio.BLOCK
    seeded_share: float = 0.0


FAMILY = Masking(draft_share=0.0, full_share=0.0, ratio=Ratio.ROW)
"""The published noise: every open token independently, with one ratio a row."""

LATE = Masking(draft_share=0.0, full_share=0.05, seeded_share=0.65)
"""Mostly what denoising meets between its first step and its last, of which the draft form teaches nothing."""


@dataclass(frozen=True, slots=True)
class Noise:
    """masked boolean [..., m]; chance float32 [..., m]: with what probability an open token of that block was masked."""

    masked: Tensor
    chance: Tensor

    @classmethod
    def stacked(cls, rows: Sequence[Noise]) -> Noise:
        """That of many rows, [b, m]."""
        return cls(torch.stack([row.masked for row in rows]), torch.stack([row.chance for row in rows]))

    @classmethod
    def joined(cls, copies: Sequence[Noise]) -> Noise:
        """That of the copies of one row, one behind the other."""
        return cls(torch.cat([copy.masked for copy in copies]), torch.cat([copy.chance for copy in copies]))

    def to(self, device: torch.device) -> Noise:
        """The same on `device`."""
        return Noise(self.masked.to(device), self.chance.to(device))


def corrupt(opened: Tensor, block: int, masking: Masking, generator: torch.Generator) -> Noise:
    """Noise for one row; `opened` boolean [m] marks the tokens that may become masks (never the prompt): at least
    one, and the last of them ends a block.

    Each block draws its own form: the draft form (its first token kept, the rest masked), all masked, or every token
    masked independently with a ratio from (0, 1], its first perhaps kept. A row that no draw touched gets one mask at a
    random open place. What is drawn does not depend on how much padding follows.
    """
    rows = int(opened.nonzero()[-1]) + 1
    blocks = rows // block
    drawn = torch.rand(1 if masking.ratio is Ratio.ROW else blocks, generator=generator)
    ratio = ((1 - _EPSILON) * drawn + _EPSILON).expand(blocks)
    form = torch.rand(blocks, generator=generator)
    known = (form < masking.draft_share) | (form >= 1 - masking.seeded_share)
    ratio = torch.where(form < masking.draft_share + masking.full_share, torch.ones(()), ratio)
    chance = torch.ones(len(opened))
    chance[:rows] = ratio.repeat_interleave(block)
    masked = opened.clone()
    masked[:rows] &= torch.rand(rows, generator=generator) < chance[:rows]
    masked[:rows] &= ~(known.repeat_interleave(block) & (torch.arange(rows) % block == 0))
    if not masked.any():
        places = opened.nonzero()
        masked[places[int(torch.randint(len(places), (), generator=generator))]] = True
    return Noise(masked, chance)


def distant(masked: Tensor, block: int) -> Tensor:
    """Boolean [..., m]: masks right behind another mask of their block: a token there is a guess at a distance."""
    behind = masked.roll(1, dims=-1)
    behind[..., ::block] = False
    return masked & behind
