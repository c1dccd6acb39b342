"""One pass of the network over a plan, under `strict` numerics.

Shapes and summation order are fixed: linears in tiles of 32 rows, attention in calls of 32 queries by 256 keys. A row's
logits depend on its own sequence alone, never on its neighbours or on where it stands. Elementwise kernels of torch
round differently in a vector's ragged tail; whole tiles on at most `STRICT_THREADS` threads never leave one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

import kernels
from engine.cache import KVCache
from engine.model.network import Network
from engine.plan import Plan, Tile, pad
from kernels.attention import KEY_CHUNK, QUERY_TILE, Segment, block_attention, group_bias, limit_bias
from kernels.linear import tiled_linear

NUMERIC = "strict"
DTYPE = "float32"
STRICT_THREADS = 2


def settle_threads() -> None:
    """Lower torch's thread count, process-wide, to what `strict` can vouch for."""
    if torch.get_num_threads() > STRICT_THREADS:
        torch.set_num_threads(STRICT_THREADS)


def numeric_fingerprint() -> str:
    """SHA-256 in hex over all that, beside weights and request, may change a bit: equal fingerprints replay exactly."""
    digest = hashlib.sha256()
    facts = ("cpu", torch.__version__, torch.get_num_threads(), DTYPE, NUMERIC, torch.backends.cpu.get_cpu_capability())
    digest.update("\n".join(map(str, facts)).encode())
    for folder in sorted(kernels.__path__):
        for source in sorted(Path(folder).glob("*.py")):
            digest.update(source.name.encode() + b"\0" + hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()


def run(network: Network, plan: Plan, caches: Sequence[KVCache]) -> Tensor:
    """Logits float32 [W, V] of the wanted rows, in row order; clean rows' keys and values are in `caches` afterwards."""
    with torch.inference_mode():
        for part in plan.parts:
            caches[part.sequence].reserve(part.committed + part.clean)
        gate = plan.gate()
        hidden = network(
            pad(plan.token),
            pad(plan.position),
            PlanAttention(plan, caches),
            tiled_linear,
            None if gate is None else pad(gate),
        )
        return network.logits(hidden.index_select(0, plan.wanted()), tiled_linear)


class PlanAttention:
    """The visibility rule as calls of `block_attention`; satisfies `engine.model.network.Attend` for one pass."""

    def __init__(self, plan: Plan, caches: Sequence[KVCache]) -> None:
        self._plan, self._caches = plan, caches
        self._tiles = [_LaidTile(plan, tile) for tile in plan.tiles()]

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        for part in self._plan.parts:
            if part.clean:
                rows = slice(part.start, part.start + part.clean)
                self._caches[part.sequence].write(layer, part.committed, key[rows], value[rows])
        out = torch.zeros_like(query)
        for tile in self._tiles:
            segments = tile.segments(layer, self._caches[tile.sequence], key, value)
            mixed = block_attention(query.index_select(0, tile.index), segments)
            out[tile.rows] = mixed[: tile.count]
        return out


class _LaidTile:
    """A tile with its masks, made once per pass. A short tile repeats its last row, and the copies are thrown away."""

    __slots__ = ("_beside", "_prefix", "count", "index", "rows", "sequence")

    def __init__(self, plan: Plan, tile: Tile) -> None:
        self.sequence, self.count = tile.part.sequence, tile.count
        self.rows = slice(tile.start, tile.start + tile.count)
        self.index = torch.arange(tile.start, tile.start + QUERY_TILE).clamp_(max=tile.start + tile.count - 1)
        limits = plan.limit[self.index]
        chunks = -(-int(limits.max()) // KEY_CHUNK)
        self._prefix = [limit_bias(limits, chunk) for chunk in range(chunks)]
        self._beside = group_bias(plan.group[self.index], tile.count) if tile.noisy else None

    def segments(self, layer: int, cache: KVCache, key: Tensor, value: Tensor) -> list[Segment]:
        found = [Segment(*cache.chunk(layer, chunk), bias) for chunk, bias in enumerate(self._prefix)]
        if self._beside is not None:
            beside = (key.index_select(0, self.index), value.index_select(0, self.index))
            found.append(Segment(beside[0].transpose(0, 1), beside[1].transpose(0, 1), self._beside))
        return found
