"""The one primitive of the engine: rows of any number of sequences, packed for one pass of the network.

A row is a token at a position, in a sequence and a group, with flags. The only rule of who sees whom: a row sees its
sequence's committed prefix, every clean new row of a group not later than its own, and, if noisy, the noisy rows of its own
group. Mode and LoRA are therefore data, not code paths. Clean rows have a slot in the cache, noisy rows have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, IntFlag
from functools import lru_cache

import torch
from torch import Tensor

from kernels.attention import QUERY_TILE
from kernels.linear import padded_rows

NO_SLOT = -1


class Flag(IntFlag):
    """What a row is: bidirectional within its group, run with the drafter LoRA, projected to the vocabulary."""

    NOISY = 1
    LORA = 2
    WANT_LOGITS = 4


class Want(Enum):
    """Which clean rows' logits are needed."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


class Lora(Enum):
    """Whether the noisy rows run with the drafter LoRA."""

    OFF = "off"
    ON = "on"


@dataclass(frozen=True, slots=True)
class Step:
    """The rows one sequence wants next: `clean` causal rows, then noisy rows in groups of `group_size` (0: none).

    `tokens` int64 [n]; `frame` int64 [3, n] holds offset from the committed length, group and flags.
    """

    tokens: Tensor
    frame: Tensor
    clean: int
    group_size: int


def clean(tokens: Sequence[int], want: Want = Want.ALL) -> Step:
    """Causal rows: a prefill chunk, an AR token, a verification or a commit."""
    return Step(torch.tensor(tokens, dtype=torch.int64), _clean_frame(len(tokens), want), len(tokens), 0)


def noisy(tokens: Sequence[int], lora: Lora) -> Step:
    """One bidirectional group: a denoise step, or a linear draft with its seed in front. All rows want logits."""
    return Step(torch.tensor(tokens, dtype=torch.int64), _noisy_frame(len(tokens), lora), 0, len(tokens))


def quadratic(draft: Sequence[int], mask_id: int, lora: Lora) -> Step:
    """B clean drafts, and behind each a group of B masks that sees the drafts up to it.

    Mask r = 1..B of group j stands at offset j + r. Logits come from the B drafts, then from masks 2..B of each group.
    """
    size = len(draft)
    tokens = torch.full((size + size * size,), mask_id, dtype=torch.int64)
    tokens[:size] = torch.tensor(draft, dtype=torch.int64)
    return Step(tokens, _quadratic_frame(size, lora), size, size)


@lru_cache(maxsize=512)
def _clean_frame(count: int, want: Want) -> Tensor:
    index = torch.arange(count)
    flags = torch.zeros(count, dtype=torch.int64)
    if want is not Want.NONE:
        flags[0 if want is Want.ALL else count - 1 :] = int(Flag.WANT_LOGITS)
    return torch.stack((index, index, flags))


@lru_cache(maxsize=128)
def _noisy_frame(count: int, lora: Lora) -> Tensor:
    flags = torch.full((count,), int(_noisy_flags(lora) | Flag.WANT_LOGITS), dtype=torch.int64)
    return torch.stack((torch.arange(count), torch.zeros(count, dtype=torch.int64), flags))


@lru_cache(maxsize=128)
def _quadratic_frame(size: int, lora: Lora) -> Tensor:
    group, inside = torch.arange(size).repeat_interleave(size), torch.arange(1, size + 1).repeat(size)
    wanted = (inside > 1) * int(Flag.WANT_LOGITS)
    masks = torch.stack((group + inside, group, wanted + int(_noisy_flags(lora))))
    return torch.cat((_clean_frame(size, Want.ALL), masks), dim=1)


def _noisy_flags(lora: Lora) -> Flag:
    return Flag.NOISY | Flag.LORA if lora is Lora.ON else Flag.NOISY


@dataclass(frozen=True, slots=True)
class Part:
    """Where one sequence's rows lie in a plan: `rows` from `start` on, the first `clean` of them with slots."""

    sequence: int
    committed: int
    start: int
    clean: int
    rows: int
    group_size: int


@dataclass(frozen=True, slots=True)
class Tile:
    """At most QUERY_TILE neighbouring rows of one sequence, all clean or all noisy; a noisy tile holds whole groups."""

    part: Part
    start: int
    count: int
    noisy: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Packed rows, each field int64 [R]; `limit` is the number of cache positions that a row sees (its keys are below it)."""

    token: Tensor
    position: Tensor
    sequence: Tensor
    group: Tensor
    flags: Tensor
    slot: Tensor
    limit: Tensor
    parts: tuple[Part, ...]

    @classmethod
    def pack(cls, steps: Sequence[tuple[int, Step]]) -> Plan:
        """Pack one (committed length, step) per sequence; sequence numbers are indices into `steps`."""
        parts: list[Part] = []
        limits: list[Tensor] = []
        for sequence, (committed, step) in enumerate(steps):
            start = parts[-1].start + parts[-1].rows if parts else 0
            rows = step.tokens.shape[0]
            parts.append(Part(sequence, committed, start, step.clean, rows, step.group_size))
            limits.append(committed + torch.searchsorted(step.frame[1, : step.clean], step.frame[1], right=True))
        counts = torch.tensor([part.rows for part in parts])
        offset, group, flags = torch.cat([step.frame for _, step in steps], dim=1)
        position = offset + torch.tensor([committed for committed, _ in steps]).repeat_interleave(counts)
        return cls(
            token=torch.cat([step.tokens for _, step in steps]),
            position=position,
            sequence=torch.arange(len(steps)).repeat_interleave(counts),
            group=group,
            flags=flags,
            slot=position.masked_fill((flags & Flag.NOISY) != 0, NO_SLOT),
            limit=torch.cat(limits),
            parts=tuple(parts),
        )

    @property
    def rows(self) -> int:
        """The number of rows R."""
        return self.token.shape[0]

    def wanted(self) -> Tensor:
        """Indices of the rows whose logits are wanted, in row order, int64 [W]."""
        return ((self.flags & Flag.WANT_LOGITS) != 0).nonzero().flatten()

    def gate(self) -> Tensor | None:
        """Drafter LoRA gate per row, float32 [R], or None when no row wants it."""
        gate = (self.flags & Flag.LORA) != 0
        return gate.to(torch.float32) if bool(gate.any()) else None

    def tiles(self) -> list[Tile]:
        """All rows, cut into attention tiles; the cut depends on the sequence's own rows only."""
        return [tile for part in self.parts for tile in _tiles(part)]

    def visibility(self) -> Tensor:
        """The rule itself, between new rows: bool [R, R], row q sees row k. Definition for tests; never used to decode."""
        noisy_row = (self.flags & Flag.NOISY) != 0
        query, key = (slice(None), None), (None, slice(None))
        same = self.sequence[query] == self.sequence[key]
        past = ~noisy_row[key] & (self.group[key] <= self.group[query])
        beside = noisy_row[query] & noisy_row[key] & (self.group[key] == self.group[query])
        return same & (past | beside)


def pad(field: Tensor) -> Tensor:
    """`field` [R, ...] with zeros up to a whole number of linear tiles."""
    return torch.nn.functional.pad(field, (0, padded_rows(field.shape[0]) - field.shape[0]))


def _tiles(part: Part) -> Iterator[Tile]:
    first_noisy, end = part.start + part.clean, part.start + part.rows
    for start in range(part.start, first_noisy, QUERY_TILE):
        yield Tile(part, start, min(QUERY_TILE, first_noisy - start), noisy=False)
    if part.group_size:
        span = QUERY_TILE // part.group_size * part.group_size
        for start in range(first_noisy, end, span):
            yield Tile(part, start, min(span, end - start), noisy=True)
