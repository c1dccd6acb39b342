"""Two streams in one pass, [noisy | clean], and who may look at whom.

The clean half holds whole rows at positions 0..n-1 and is strictly causal, so its keys are the ones that decoding keeps. The
noisy half holds, for each row, its last blocks from `starts` on, at the positions they have in the text, and these as many
times over as there are copies, each with noise of its own. A noisy row sees its own block and the clean tokens before that
block; nothing ever sees another noisy block, and no clean row sees a noisy one.
Shapes: b rows, n clean places, m noisy places (copies times a multiple of the block length).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor

from engine.model.network import Linear, Network
from engine.train.batches import Batch
from kernels.cpu import spans as runs
from kernels.cpu.spans import Rows

STRIDE: Final = 256
"""A pass has a multiple of this many places. No two steps have rows of the same length, and a product of another length is for
oneDNN a program to compile, as its results are for the C library holes of other sizes to search: an eighth and a third of what
a joint step took, once some hundred steps had been (November 2026)."""


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

    def real(self, batch: Batch) -> Tensor:
        """Boolean [b, m + n]: the places of blocks that begin in their row, and its tokens."""
        return torch.cat((self._begins() < batch.ends[:, None], batch.inside()), dim=1)

    def _begins(self) -> Tensor:
        """Where in its row the block of each noisy place begins, [b, m]."""
        return self.starts[:, None] + self._own() % (self.index.shape[1] // self.copies)

    def _own(self) -> Tensor:
        """Where the block of each noisy place begins, [m]."""
        return torch.arange(self.index.shape[1], device=self.index.device) // self.block * self.block

    def _spans(self, length: int, until: Tensor) -> Tensor:
        """Noisy places see their own block `until` [m] and what is clean before it; clean places are causal."""
        (size, m), own = self.index.shape, self._own()
        before = self._begins().clamp(max=length) + m
        noisy = (own.expand(size, -1), until.expand(size, -1), torch.full_like(before, m), before)
        clean = causal_spans(size, length, self.index.device)
        clean[:, :, :2] += m
        return torch.cat((torch.stack(noisy, dim=2).int(), clean), dim=1)


def causal_spans(size: int, length: int, device: torch.device) -> Tensor:
    """Spans int32 [size, length, 4] in which every place sees itself and what comes before it."""
    spans = torch.zeros(size, length, 4, dtype=torch.int32, device=device)
    spans[:, :, 1] = torch.arange(1, length + 1, device=device)
    return spans


class Packed:
    """The `real` ones of places boolean [b, l], who of them sees whom, and whose hidden states are `wanted` (boolean [b, l]).

    It is the attention of a pass over them: all places ask in every layer but the last, and there the wanted ones. Both are
    filled up to a multiple of `STRIDE`, by places that see nothing and that nothing sees.
    """

    def __init__(self, real: Tensor, spans: Tensor, wanted: Tensor) -> None:
        """`spans` [b, l, 4] are over the padded places, of which the real ones stay."""
        kept = real.flatten().nonzero()[:, 0]
        asked = wanted.flatten()[kept].nonzero()[:, 0]
        spare = -len(asked) % STRIDE
        filler = spare + -(len(kept) + spare) % STRIDE
        self._kept, self._asked = F.pad(kept, (0, filler)), len(asked)
        self.wanted = torch.cat((asked, torch.arange(len(kept), len(kept) + spare, device=asked.device)))
        """int64, which of the packed places."""
        behind = F.pad(real.cumsum(dim=1), (1, 0))
        own = torch.stack([behind.gather(1, side.long()) for side in spans.unbind(-1)], dim=-1).int()
        own = F.pad(own.flatten(0, 1)[kept], (0, 0, 0, filler))
        places = _borders(real.sum(dim=1), filler)
        self._all = Rows(own, places, places)
        self._last = Rows(own[self.wanted], _borders((real & wanted).sum(dim=1), spare), places)

    def __call__(self, padded: Tensor) -> Tensor:
        """Of [b, l, ...] the real places and what fills them up, [r, ...]."""
        return padded.flatten(0, 1)[self._kept]

    def logits(self, network: Network, tokens: Tensor, positions: Tensor, linear: Linear, gate: Tensor | None = None) -> Tensor:
        """One pass: of tokens, positions and drafter gates [b, l], the logits [w, V] of the wanted places, in float32."""
        own = None if gate is None else self(gate).float()
        hidden = network(self(tokens), self(positions), self.attend, linear, own, self.wanted)
        return self.asked(network.logits(hidden, linear).float())

    def asked(self, computed: Tensor) -> Tensor:
        """Of what a pass gives, [w, ...], that of the wanted places alone."""
        return computed[: self._asked]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:  # noqa: ARG002 - one rule for all
        """Attention of a pass over the real places."""
        rows = self._all if len(query) == len(key) else self._last
        if runs.usable(query):
            return runs.attention(query, key, value, rows)
        if query.device.type != "cpu":
            return runs.definition(query, key, value, rows)
        # On a CPU always in float32, whatever products are computed in: there torch's bfloat16 kernel is the slower one.
        with torch.autocast("cpu", enabled=False):
            return runs.definition(query.float(), key.float(), value.float(), rows)


def _borders(lengths: Tensor, more: int) -> Tensor:
    """Where rows of these lengths begin and end, and behind them one of `more`, int64 [b + 2]."""
    return F.pad(F.pad(lengths, (0, 1), value=more).cumsum(dim=0), (1, 0))
