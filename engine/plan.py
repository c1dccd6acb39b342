"""The one primitive of the engine: rows of any number of sequences, packed for one pass of the network.

A row is a token at a position, in a sequence and a group, with flags. The only rule of who sees whom: a row sees its
sequence's committed prefix, every clean new row of a group not later than its own, and, if noisy, the noisy rows of its own
group. Mode and LoRA are therefore data, not code paths. Clean rows have a slot in a page, noisy rows have none.

Whatever depends on a step's shape alone is a `Frame`, made once. Sequences with the same frame stand side by side as a
`Group`, so that packing and attention work on whole groups and never on single rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, IntFlag
from functools import cached_property, lru_cache
from itertools import groupby
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.pages import PAGE, SCRATCH
from engine.value import value

NO_SLOT = NO_SOURCE = -1
Ints = NDArray[np.int64]


class Flag(IntFlag):
    """What a row is: bidirectional within its group, run with the drafter LoRA, projected to the vocabulary."""

    NOISY = 1
    LORA = 2
    WANT_LOGITS = 4


_LORA: Final = int(Flag.LORA)
"""numpy takes a number faster than a flag, and this one is asked for at every pass."""


class Want(Enum):
    """Which clean rows' logits are needed."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


class Lora(Enum):
    """Whether the noisy rows run with the drafter LoRA."""

    OFF = "off"
    ON = "on"


class Frame:
    """The shape of a step: `clean` causal rows, then noisy rows in groups of `group_size` (0: none).

    `rows` int64 [4, n]: offset from the committed length, group, flags, and how many of the clean rows are seen. `wanted` are
    the rows whose logits are asked for, `asking` whether there are any; `lora` says whether any row runs with the drafter LoRA;
    `speaks` are the offsets that rows speak of: the next one for causal rows, their own for noisy ones.
    """

    def __init__(self, rows: Ints, clean: int, group_size: int) -> None:
        self.rows: Final = rows
        self.clean: Final = clean
        self.group_size: Final = group_size
        self.size: Final[int] = rows.shape[1]
        self.noisy: Final = self.size - clean
        self.wanted: Final = np.flatnonzero(rows[2] & Flag.WANT_LOGITS)
        self.asking: Final = len(self.wanted) > 0
        self.lora: Final = bool((rows[2] & Flag.LORA).any())
        self.speaks: Final = rows[0] + (np.arange(self.size) < clean)

    @cached_property
    def beside(self) -> NDArray[np.bool_]:
        """Who sees whom among the new rows without a slot: bool [n, noisy]."""
        group, noisy_row = self.rows[1], (self.rows[2] & Flag.NOISY) != 0
        seen: NDArray[np.bool_] = (group[:, None] == group[None, self.clean :]) & noisy_row[:, None]
        return seen


@value
class Step:
    """The rows one sequence wants next: a token for each row of `frame`.

    `targets` are ids whose log-probability the causal rows are asked for, one per wanted row or none at all; `allowed` bool
    [wanted clean rows, V] is what a constraint permits there. `follow` is what the sequence will most likely want after this
    step and after that, each step `kept` positions further on than the one before. A row with a source (which is not NO_SOURCE)
    has the token that this wanted row picked, of the step before in what follows, of the pass before in a plan. `only` are the
    rows whose logits are asked for, in order, where these are not all that the frame has.
    """

    tokens: Sequence[int]
    frame: Frame
    targets: Sequence[int] = ()
    allowed: NDArray[np.bool_] | None = None
    follow: Sequence[Step] = ()
    sources: Sequence[int] = ()
    only: tuple[int, ...] = ()
    kept: int = 0

    @property
    def wanted(self) -> Ints:
        """The rows whose logits are asked for."""
        return np.array(self.only) if self.only else self.frame.wanted


def clean(
    tokens: Sequence[int],
    want: Want = Want.ALL,
    targets: Sequence[int] = (),
    allowed: NDArray[np.bool_] | None = None,
    follow: Sequence[Step] = (),
) -> Step:
    """Causal rows: a prefill chunk, an AR token, a verification or a commit."""
    return Step(tokens, clean_frame(len(tokens), want), targets, allowed, follow)


def noisy(tokens: Sequence[int], lora: Lora, follow: Sequence[Step] = (), only: tuple[int, ...] = ()) -> Step:
    """One bidirectional group: a denoise step, or a linear draft with its seed in front. All want logits, or `only` these."""
    return Step(tokens, noisy_frame(len(tokens), lora), follow=follow, only=only)


def ahead(step: Step, size: int, mask_id: int, follow: Sequence[Step] = ()) -> Step:
    """Causal rows as in `step`, and behind the last a group of `size` masks with the drafter LoRA, which sees all of them.

    The first mask stands where the last row's own pick will: logits come from the others, behind those of `step`.
    """
    frame = masked_frame(step.frame, size, step.frame.clean - 1)
    return Step((*step.tokens, *(mask_id,) * size), frame, step.targets, step.allowed, follow)


def quadratic(draft: Sequence[int], mask_id: int, lora: Lora, allowed: NDArray[np.bool_] | None = None) -> Step:
    """B clean drafts, and behind each a group of B masks that sees the drafts up to it.

    Mask r = 1..B of group j stands at offset j + r. Logits come from the B drafts, then from masks 2..B of each group.
    """
    size = len(draft)
    frame = masked_frame(clean_frame(size, Want.ALL), size, 0, lora)
    return Step((*draft, *(mask_id,) * (size * size)), frame, (), allowed)


@lru_cache(maxsize=512)
def clean_frame(count: int, want: Want) -> Frame:
    """The frame of `count` causal rows."""
    index = np.arange(count)
    flags = np.zeros(count, dtype=np.int64)
    if want is not Want.NONE:
        flags[0 if want is Want.ALL else count - 1 :] = Flag.WANT_LOGITS
    return Frame(np.stack((index, index, flags, index + 1)), count, 0)


@lru_cache(maxsize=128)
def noisy_frame(count: int, lora: Lora) -> Frame:
    """The frame of one bidirectional group."""
    zero = np.zeros(count, dtype=np.int64)
    flags = np.full(count, _noisy_flags(lora) | Flag.WANT_LOGITS, dtype=np.int64)
    return Frame(np.stack((np.arange(count), zero, flags, zero)), 0, count)


@lru_cache(maxsize=512)
def masked_frame(before: Frame, size: int, first: int, lora: Lora = Lora.ON) -> Frame:
    """The causal rows `before`, and behind each from `first` on a group of `size` masks, for whose first that row picks."""
    behind = np.arange(first, before.clean)
    group, inside = np.repeat(behind, size), np.tile(np.arange(1, size + 1), len(behind))
    flags = int(_noisy_flags(lora)) + int(Flag.WANT_LOGITS) * (inside > 1)
    masks = np.stack((group + inside, group, flags, group + 1))
    return Frame(np.concatenate((before.rows, masks), axis=1), before.clean, size)


def _noisy_flags(lora: Lora) -> Flag:
    return Flag.NOISY | Flag.LORA if lora is Lora.ON else Flag.NOISY


@value
class Group:
    """`count` sequences of one frame: their rows lie side by side from row `start` on, `sequence` is the first of them."""

    frame: Frame
    start: int
    count: int
    sequence: int

    @property
    def rows(self) -> slice:
        """Where the group's rows are in the plan."""
        return slice(self.start, self.start + self.count * self.frame.size)

    def starts(self) -> Ints:
        """The first row of each sequence, [count]."""
        return self.start + self.frame.size * np.arange(self.count)

    @property
    def sequences(self) -> slice:
        """Which sequences of the plan are the group's."""
        return slice(self.sequence, self.sequence + self.count)


class Placed(Protocol):
    """Where a sequence stands: so many positions are in its cache, which has these pages."""

    @property
    def filled(self) -> int: ...

    @property
    def pages(self) -> Sequence[int]: ...


@value
class Plan:
    """Packed rows, each field int64 [R]; the sequences stand in the order of `groups`.

    `limit` is the number of positions of its own sequence that a row sees in the pages, `slot` where a clean row's key and
    value go (NO_SLOT for noisy and padding rows), `wanted` [W] the rows whose logits are asked for, `source` the wanted row
    of the pass before whose pick is the row's token (NO_SOURCE where `token` says it).
    """

    token: Ints
    source: Ints
    position: Ints
    limit: Ints
    slot: Ints
    wanted: Ints
    picks: Ints
    """The absolute positions that the wanted rows speak of, [W]."""
    groups: tuple[Group, ...]
    tables: Ints
    """Page table of each sequence, [S, pages], filled up with the scratch page."""

    @classmethod
    def pack(cls, steps: Sequence[tuple[Placed, Step]], padded: Callable[[int], int] = int) -> Plan:
        """Pack one step per sequence, the steps of one frame next to each other.

        `padded` says how many rows to make of how many. A row's place in the page table is that of its position.
        """
        groups = _groups([step.frame for _, step in steps])
        tables = _tables([place.pages for place, _ in steps])
        filled = np.array([place.filled for place, _ in steps])[:, None]
        rows = groups[-1].rows.stop
        token, source, position, limit, slot = np.zeros((5, padded(rows)), dtype=np.int64)
        token[:rows] = [token for _, step in steps for token in step.tokens]
        source.fill(NO_SOURCE)
        if any(step.sources for _, step in steps):
            source[:rows] = [each for _, step in steps for each in step.sources or (NO_SOURCE,) * step.frame.size]
        slot.fill(NO_SLOT)
        wanted: list[Ints] = []
        picks: list[Ints] = []
        for group in groups:
            frame, base = group.frame, filled[group.sequences]
            place = frame.rows[0] + base
            position[group.rows], limit[group.rows] = place.reshape(-1), (frame.rows[3] + base).reshape(-1)
            if frame.clean:
                place = place[:, : frame.clean]
                page = tables[np.arange(group.sequence, group.sequence + group.count)[:, None], place // PAGE]
                slot[group.rows].reshape(place.shape[0], -1)[:, : frame.clean] = page * PAGE + place % PAGE
            own = [step.wanted for _, step in steps[group.sequences]]
            if all(rows is frame.wanted for rows in own):
                wanted.append((group.starts()[:, None] + frame.wanted).reshape(-1))
                picks.append((base + frame.speaks[frame.wanted]).reshape(-1))
            else:
                wanted += map(np.add, group.starts(), own)
                picks += [at + frame.speaks[rows] for at, rows in zip(base, own, strict=True)]
        return cls(token, source, position, limit, slot, np.concatenate(wanted), np.concatenate(picks), groups, tables)

    @property
    def size(self) -> int:
        """The number of rows, padding apart."""
        last = self.groups[-1]
        return last.start + last.count * last.frame.size

    @property
    def lora(self) -> bool:
        """Whether any row runs with the drafter LoRA."""
        return any(group.frame.lora for group in self.groups)

    @property
    def gated(self) -> NDArray[np.bool_]:
        """Which rows run with the drafter LoRA, bool [R]."""
        return (self.field(2) & _LORA).astype(np.bool_)

    def written(self) -> Ints | None:
        """The rows that have a slot, or None when all have."""
        rows = np.flatnonzero(self.slot != NO_SLOT)
        return None if len(rows) == len(self.slot) else rows

    def field(self, row: int) -> Ints:
        """A field of the frames (0 offset, 1 group, 2 flags), int64 [R]; 0 for padding."""
        found = np.zeros(len(self.token), dtype=np.int64)
        for group in self.groups:
            found[group.rows].reshape(group.count, -1)[:] = group.frame.rows[row]
        return found


def _groups(frames: Sequence[Frame]) -> tuple[Group, ...]:
    found: list[Group] = []
    start = sequence = 0
    for _, same in groupby(frames, key=id):
        run = list(same)
        found.append(Group(run[0], start, len(run), sequence))
        start, sequence = start + len(run) * run[0].size, sequence + len(run)
    return tuple(found)


def _tables(pages: Sequence[Sequence[int]]) -> Ints:
    """The sequences' page tables as one array, as wide as the longest."""
    if len(pages) == 1:
        return np.array([pages[0]], dtype=np.int64)
    width = max(map(len, pages))
    return np.array([[*own, *(SCRATCH,) * (width - len(own))] for own in pages], dtype=np.int64)
