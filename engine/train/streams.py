"""Two streams in one pass, [noisy | clean], and who may look at whom.

The clean half holds whole rows at positions 0..n-1 and is strictly causal, so its keys are the ones that decoding keeps. The
noisy half holds, for each row, its last blocks from `starts` on, at the positions they have in the text, and these as many
times over as there are copies, each with noise of its own. A noisy row sees its own block and the clean tokens before that
block; nothing ever sees another noisy block, and no clean row sees a noisy one.
Shapes: b rows, n clean places, m noisy places (copies times a multiple of the block length).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor

from engine.train.batches import Batch
from kernels.cpu import spans as runs


@dataclass(frozen=True, slots=True)
class Noisy:
    """The noisy half before corruption.

    `copies` lie one behind the other. index int64 [b, m]: position of each place in its row; tokens int64 [b, m]: the truth
    there, the end token behind the end; opened boolean [b, m]: the answer and the end tokens that fill its last block, which
    decoding will find masked.
    """

    block: int
    copies: int
    starts: Tensor
    index: Tensor
    tokens: Tensor
    opened: Tensor

    def to(self, device: torch.device) -> Noisy:
        """The same on `device`."""
        moved = (field.to(device) for field in (self.starts, self.index, self.tokens, self.opened))
        return Noisy(self.block, self.copies, *moved)

    @classmethod
    def of(cls, batch: Batch, starts: Tensor, block: int, copies: int = 1) -> Noisy:
        """The blocks from `starts` [b] to the end of each row, as many places as the longest needs."""
        places = int((-(-(batch.ends - starts) // block)).max()) * block
        place = torch.arange(places, device=starts.device).repeat(copies)
        index = starts[:, None] + place
        inside = index.clamp(max=batch.tokens.shape[1] - 1)
        tokens = torch.where(index < batch.ends[:, None], batch.tokens.gather(1, inside), batch.end_token)
        begun = starts[:, None] + place // block * block
        opened = (index >= batch.prompts[:, None]) & (begun < batch.ends[:, None])
        return cls(block, copies, starts, index, tokens, opened)

    def sees(self, length: int) -> Tensor:
        """Spans int32 [b, m + n, 4] over both halves: a noisy place sees its own block and the clean places before it."""
        return self._spans(length, self._own() + self.block)

    def verifies(self, length: int) -> Tensor:
        """The same for a causal reading: of its own block a noisy place sees itself and what comes before it."""
        return self._spans(length, torch.arange(1, self.index.shape[1] + 1, device=self.index.device))

    def positions(self, length: int) -> Tensor:
        """Rotary positions int64 [b, m + n] of both halves."""
        clean = torch.arange(length, device=self.index.device).expand(len(self.starts), -1)
        return torch.cat((self.index, clean), dim=1)

    def _own(self) -> Tensor:
        """Where the block of each noisy place begins, [m]."""
        return torch.arange(self.index.shape[1], device=self.index.device) // self.block * self.block

    def _spans(self, length: int, until: Tensor) -> Tensor:
        """Noisy places see their own block `until` [m] and what is clean before it; clean places are causal."""
        (size, m), own = self.index.shape, self._own()
        before = (self.starts[:, None] + own % (m // self.copies)).clamp(max=length) + m
        noisy = (own.expand(size, -1), until.expand(size, -1), torch.full_like(before, m), before)
        clean = causal_spans(size, length, self.index.device)
        clean[:, :, :2] += m
        return torch.cat((torch.stack(noisy, dim=2).int(), clean), dim=1)


def causal_spans(size: int, length: int, device: torch.device) -> Tensor:
    """Spans int32 [size, length, 4] in which every place sees itself and what comes before it."""
    spans = torch.zeros(size, length, 4, dtype=torch.int32, device=device)
    spans[:, :, 1] = torch.arange(1, length + 1, device=device)
    return spans


class Causal:
    """Every row sees itself and what comes before it."""

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:  # noqa: ARG002 - one rule for all
        if runs.usable(query):
            return runs.attention(query, key, value, causal_spans(query.shape[0], query.shape[1], query.device))
        return _attend(query, key, value, None)


class DualStream:
    """Attention of both halves, `places` of them noisy, under spans [b, m + n, 4]; the clean half is causal."""

    def __init__(self, spans: Tensor, places: int) -> None:
        self._spans, self._places = spans, places

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:  # noqa: ARG002 - one rule for all
        if runs.usable(query):
            return runs.attention(query, key, value, self._spans)
        m = self._places
        noisy = _attend(query[:, :m], key, value, runs.seen(self._spans[:, :m], key.shape[1])[:, None])
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
