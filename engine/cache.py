"""The keys and values of one sequence.

Only causal rows with the drafter LoRA off are ever written, at the slot of their absolute position, and they may be written
above `committed` before anyone knows whether they stay. Keeping n of them is `commit(n)`; dropping the others costs nothing,
since the next pass overwrites them: rollback is one integer. Slots hold finite numbers from the start, so a masked slot adds
exactly zero. Storage grows in chunks of `KEY_CHUNK` positions, the unit of an attention call.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.config import ModelConfig
from kernels.attention import KEY_CHUNK


class KVCache:
    """One sequence's cache; `committed` positions are part of it, the slots above are scratch."""

    __slots__ = ("_chunks", "_shape", "committed")

    def __init__(self, config: ModelConfig) -> None:
        self._shape = (config.num_hidden_layers, 2, config.num_key_value_heads, KEY_CHUNK, config.head_dim)
        self._chunks: list[Tensor] = []
        self.committed = 0

    def reserve(self, positions: int) -> None:
        """Make slots below `positions` exist, zeroed."""
        while len(self._chunks) * KEY_CHUNK < positions:
            self._chunks.append(torch.zeros(self._shape, dtype=torch.float32))

    def write(self, layer: int, start: int, key: Tensor, value: Tensor) -> None:
        """Put key and value [n, Hk, D] into the reserved slots from position `start` on."""
        done = 0
        while done < key.shape[0]:
            chunk, slot = divmod(start + done, KEY_CHUNK)
            count = min(KEY_CHUNK - slot, key.shape[0] - done)
            store = self._chunks[chunk][layer]
            store[0, :, slot : slot + count] = key[done : done + count].transpose(0, 1)
            store[1, :, slot : slot + count] = value[done : done + count].transpose(0, 1)
            done += count

    def chunk(self, layer: int, index: int) -> tuple[Tensor, Tensor]:
        """Keys and values [Hk, KEY_CHUNK, D] of the positions from `index * KEY_CHUNK` on (views)."""
        store = self._chunks[index][layer]
        return store[0], store[1]

    def commit(self, count: int) -> None:
        """Keep the first `count` scratch positions."""
        self.committed += count

    def snapshot(self) -> Tensor:
        """A copy of the committed part, [layers, 2, Hk, committed, D]."""
        if not self._chunks:
            return torch.zeros(*self._shape[:3], 0, self._shape[4])
        return torch.cat(self._chunks, dim=3)[:, :, :, : self.committed].clone()
