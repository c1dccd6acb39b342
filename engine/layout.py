"""A plan as a device is told it: its fields one after the other in a single array of int32, so that one copy carries all.

A layout says how much room each field has. The exact one fits its plan; a roomy one is shared by all plans of about that size,
so that a recorded pass may serve them. What is left over is inert: rows that see nothing, keep nothing and are in no tile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.attend import group_tiles
from engine.plan import NO_SLOT, NO_SOURCE, Flag, Ints, Plan
from kernels.paged import CLEAN, PAGE, SPLIT, Rows

ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Rows of the roomy layouts: a pass of 17 wastes no more than its like of 32 costs, which on a GPU is next to nothing."""
PARTIALS_MOST: Final = 1 << 14
"""Rows times splits of one attention: its partials then take at most 256 MiB with 32 heads of 128. More goes in pieces."""
_LINE: Final = 16  # bytes: Triton builds a kernel once more for a field that begins elsewhere
_ALIGNED: Final = _LINE // 4

Told = NDArray[np.int32]
Array = TypeVar("Array", Told, Tensor)


@dataclass(frozen=True, slots=True)
class Layout:
    """Room for so many rows, wanted rows, tiles, sequences and pages of each; `reach` is the highest limit that is served.

    `cuts` are those of `kernels.paged.Rows`: tiles and rows of each piece, none if attention goes in one.
    """

    rows: int
    wanted: int
    tiles: int
    sequences: int
    pages: int
    reach: int
    lora: bool
    cuts: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, plan: Plan, tiles: Ints) -> Self:
        """The exact one for a plan with these tiles."""
        (sequences, pages) = plan.tables.shape
        rows, reach = len(plan.token), int(plan.limit.max())
        cuts = _cuts(tiles[:, 1], PARTIALS_MOST // (-(-reach // SPLIT) + 1))
        return cls(rows, len(plan.wanted), len(tiles), sequences, pages, reach, plan.lora, cuts)

    def roomy(self) -> Layout | None:
        """The shared one that holds this; None for a plan that is too large for any."""
        rows = next((size for size in ROWS if size >= self.rows), None)
        splits = _power(-(-self.reach // SPLIT))
        if rows is None or rows * (splits + 1) > PARTIALS_MOST:
            return None
        tiles = _power(max(self.tiles, self.sequences))
        return Layout(rows, rows, tiles, tiles, splits * SPLIT // PAGE, splits * SPLIT, self.lora)

    def parts(self, flat: Array) -> list[Array]:
        """The fields in their order, as views: token, source, position, slot, limit, group, gate [R], wanted, tiles, tables."""
        begins = np.cumsum([0, *map(_aligned, self._shapes)]).tolist()
        fields = zip(begins, self._shapes, strict=False)
        return [flat[begin : begin + math.prod(shape)].reshape(shape) for begin, shape in fields]

    @property
    def size(self) -> int:
        """Integers of the whole array."""
        return sum(map(_aligned, self._shapes))

    @property
    def _shapes(self) -> list[tuple[int, ...]]:
        return [*((self.rows,),) * 7, (self.wanted,), (self.tiles, 3), (self.sequences, self.pages)]

    def told(self, plan: Plan, laid: Ints) -> Told:
        """The array of a plan, with its tiles, that fits here. Page tables are cut at the reach: nobody looks further."""
        flat = np.zeros(self.size, dtype=np.int32)
        *parts, tables = self.parts(flat)
        _, source, _, slot, _, group, _, _, tiles = parts
        for part, inert in ((source, NO_SOURCE), (slot, NO_SLOT), (group, CLEAN)):
            part.fill(inert)
        by_row = (plan.token, plan.source, plan.position, plan.slot, plan.limit, groups_of(plan), plan.gated)
        for part, given in zip(parts, (*by_row, plan.wanted, laid), strict=True):
            part[: len(given)] = given
        tiles[: len(laid), 0] -= self._begun()
        tables[: len(plan.tables), : plan.tables.shape[1]] = plan.tables[:, : self.pages]
        return flat

    def _begun(self) -> Told | int:
        """The first row of the piece that each tile is in."""
        if not self.cuts:
            return 0
        tiles, rows = np.array(self.cuts, dtype=np.int32).T
        return np.repeat(rows.cumsum(dtype=np.int32) - rows, tiles)


def tiles_of(plan: Plan) -> Ints:
    """First row, number of rows and sequence of each tile, in the order of rows, as `kernels.paged.Rows` explains them."""
    laid, sequence, _ = (np.concatenate(part) for part in zip(*map(group_tiles, plan.groups), strict=True))
    return np.stack((laid[:, 0], laid[:, -1] - laid[:, 0] + 1, sequence), axis=1)


def groups_of(plan: Plan) -> Ints:
    """The group of each noisy row, CLEAN for the others."""
    return np.where(plan.field(2) & Flag.NOISY, plan.field(1), CLEAN)


@dataclass(frozen=True, slots=True, eq=False)
class DeviceRows:
    """A plan on the device, int32: `token` to `slot` [R], `wanted` [W]; `gate` float32 [R], None without LoRA."""

    token: Tensor
    source: Tensor
    position: Tensor
    slot: Tensor
    wanted: Tensor
    seen: Rows
    gate: Tensor | None

    @classmethod
    def of(cls, layout: Layout, flat: Tensor) -> Self:
        """Views of the array that lies on the device."""
        token, source, position, slot, limit, group, gate, wanted, tiles, tables = layout.parts(flat)
        seen = Rows(limit, group, tiles, tables, layout.reach, layout.cuts)
        return cls(token, source, position, slot, wanted, seen, gate.float() if layout.lora else None)

    def tokens(self, picked: Tensor) -> Tensor:
        """Each row's token, int32 [R]: as it was told, or of those that the pass before picked."""
        return torch.where(self.source == NO_SOURCE, self.token, picked[self.source.clamp(min=0)])


def _cuts(tiles: Ints, most: int) -> tuple[tuple[int, int], ...]:
    """Tiles and rows of each piece of at most `most` rows, a tile at the least; none where one piece is enough."""
    if tiles.sum() <= most:
        return ()
    found = [[0, 0]]
    for rows in tiles.tolist():
        if found[-1][0] and found[-1][1] + rows > most:
            found.append([0, 0])
        found[-1][0] += 1
        found[-1][1] += rows
    return tuple((count, rows) for count, rows in found)


def ready(told: NDArray[Any], device: torch.device) -> Tensor:
    """The array as a tensor of the host, from which it can be copied to the device without waiting."""
    flat = torch.from_numpy(told)
    return flat.pin_memory() if device.type == "cuda" else flat


def carried(arrays: Sequence[NDArray[Any]], device: torch.device) -> list[Tensor]:
    """The arrays on the device, carried there in one copy for which nobody waits."""
    *begins, size = np.cumsum([0, *(-(-array.nbytes // _LINE) * _LINE for array in arrays)]).tolist()
    flat = np.zeros(size or _LINE, dtype=np.uint8)  # of nothing torch gives no views
    for begin, array in zip(begins, arrays, strict=True):
        flat[begin : begin + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    there = ready(flat, device).to(device, non_blocking=True)
    return [
        there[begin : begin + array.nbytes].view(torch.from_numpy(array).dtype).reshape(array.shape)
        for begin, array in zip(begins, arrays, strict=True)
    ]


def _aligned(shape: tuple[int, ...]) -> int:
    """The room of a field."""
    return -(-math.prod(shape) // _ALIGNED) * _ALIGNED


def _power(count: int) -> int:
    """The power of two that holds `count`, at least 1."""
    return 1 << max(0, count - 1).bit_length()
