"""Two streams in one pass, [noisy | clean], and who may look at whom.

The clean half holds whole rows at positions 0..n-1 and is strictly causal, so its keys are the ones that decoding keeps. The
noisy half holds, for each row, its last blocks from `starts` on, at the positions they have in the text. A noisy row sees its
own block and the clean tokens before that block; nothing ever sees another noisy block, and no clean row sees a noisy one.
Shapes: b rows, n clean places, m noisy places (a multiple of the block length).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor

from engine.train.batches import Batch


@dataclass(frozen=True, slots=True)
class Noisy:
    """The noisy half before corruption.

    index int64 [b, m]: position of each place in its row; tokens int64 [b, m]: the truth there, the end token behind the
    end; opened boolean [b, m]: the answer and the end tokens that fill its last block, which decoding will find masked.
    """

    block: int
    starts: Tensor
    index: Tensor
    tokens: Tensor
    opened: Tensor

    def to(self, device: torch.device) -> Noisy:
        """The same on `device`."""
        moved = (field.to(device) for field in (self.starts, self.index, self.tokens, self.opened))
        return Noisy(self.block, *moved)

    @classmethod
    def of(cls, batch: Batch, starts: Tensor, block: int) -> Noisy:
        """The blocks from `starts` [b] to the end of each row, as many places as the longest needs."""
        places = int((-(-(batch.ends - starts) // block)).max()) * block
        place = torch.arange(places, device=starts.device)
        index = starts[:, None] + place
        inside = index.clamp(max=batch.tokens.shape[1] - 1)
        tokens = torch.where(index < batch.ends[:, None], batch.tokens.gather(1, inside), batch.end_token)
        begun = starts[:, None] + place // block * block
        opened = (index >= batch.prompts[:, None]) & (begun < batch.ends[:, None])
        return cls(block, starts, index, tokens, opened)

    def sees(self, length: int) -> Tensor:
        """Boolean [b, m, m + n], query by key, for the noisy rows over both halves: True where the query may look."""
        place = torch.arange(self.index.shape[1], device=self.index.device)
        own = place[:, None] // self.block == place[None, :] // self.block
        begun = self.starts[:, None] + place // self.block * self.block
        before = torch.arange(length, device=place.device) < begun[:, :, None]
        return torch.cat((own.expand(len(self.starts), -1, -1), before), dim=2)

    def verifies(self, length: int) -> Tensor:
        """The same for a causal reading: of its own block a row sees itself and what comes before it."""
        seen, places = self.sees(length), self.index.shape[1]
        seen[:, :, :places].tril_()
        return seen

    def positions(self, length: int) -> Tensor:
        """Rotary positions int64 [b, m + n] of both halves."""
        clean = torch.arange(length, device=self.index.device).expand(len(self.starts), -1)
        return torch.cat((self.index, clean), dim=1)


class Causal:
    """Every row sees itself and what comes before it."""

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:  # noqa: ARG002 - one rule for all
        return _attend(query, key, value, None)


class DualStream:
    """Attention of both halves under one mask [b, m, m + n] for the noisy rows; the clean rows need none."""

    def __init__(self, mask: Tensor) -> None:
        self._mask, self._places = mask[:, None], mask.shape[1]

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:  # noqa: ARG002 - one rule for all
        m = self._places
        noisy = _attend(query[:, :m], key, value, self._mask)
        clean = _attend(query[:, m:], key[:, m:], value[:, m:], None)
        return torch.cat((noisy, clean), dim=1)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Torch's attention, heads before rows as torch wants them; causal without a mask.

    On a CPU always in float32, whatever products are computed in: there its bfloat16 kernel is the slower one.
    """
    query, key, value = (heads.transpose(1, 2) for heads in (query, key, value))
    if query.device.type != "cpu":
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
        return mixed.transpose(1, 2)
    with torch.autocast("cpu", enabled=False):
        mixed = F.scaled_dot_product_attention(
            query.float(), key.float(), value.float(), attn_mask=mask, is_causal=mask is None, enable_gqa=True
        )
    return mixed.transpose(1, 2)
