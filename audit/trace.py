"""The steps of a denoising block as deltas of planes, and back, exactly.

What returns from `decode_steps` equals what went into `encode_steps`: masks, proposals and commits bit for
bit, and confidences after rounding to the nearest 1/255, which is their recorded form. Each step stays
addressable by itself. How sure a step was of what it committed is recorded once, with the block, if both say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from operator import ne, not_
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from audit import forms
from audit.blocks import MAX_WIDTH, QUANTA, BlockTrace, StepPlanes, level, unsaid
from audit.errors import InvalidRecord

_Bits = NDArray[np.bool_]
_Ids = NDArray[np.int64]


class StepLike(Protocol):
    """One denoising step of B positions, as the engine tells it: the mask is the one before the step."""

    @property
    def masked(self) -> Sequence[bool]: ...
    @property
    def proposal(self) -> Sequence[int]: ...
    @property
    def confidence(self) -> Sequence[float]: ...
    @property
    def committed(self) -> Sequence[bool]: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded step: B masks before it, B proposals, B confidences (0 where known), B commits by it."""

    masked: tuple[bool, ...]
    proposal: tuple[int, ...]
    confidence: tuple[float, ...]
    committed: tuple[bool, ...]


def quantise(confidence: float) -> float:
    """The recorded form of a step confidence: the nearest multiple of 1/255."""
    return level(float(confidence)) / QUANTA


def encode_steps(steps: Sequence[StepLike], commit_confidence: Sequence[float] = ()) -> StepPlanes:
    """The planes of the steps of a block with this `commit_confidence`, abridged where that says what the steps say.

    Raises InvalidRecord for ragged steps or confidences outside 0 to 1.
    Row by row in plain Python: a block is a few short rows, for which numpy takes twice as long.
    """
    width = len(steps[0].masked) if steps else 0
    if any(len(row) != width for step in steps for row in _rows(step)) or (steps and not 0 < width <= MAX_WIDTH):
        raise InvalidRecord("the steps of a block have one width, from 1 up")
    changed, ids, levels = bytearray(), list[int](), bytearray()
    before: Sequence[int] | None = None
    for step in steps:
        differs = (True,) * width if before is None else tuple(map(ne, step.proposal, before))
        changed += forms.packed_bits(differs)
        ids += compress(step.proposal, differs)
        levels += _levels(step)
        before = step.proposal
    masked = b"".join(forms.packed_bits(step.masked) for step in steps)
    committed = b"".join(forms.packed_bits(step.committed) for step in steps)
    if ids and not (min(ids) >= 0 and max(ids) < 1 << 32):
        raise InvalidRecord("a proposed token id is from 0 below 2^32")
    left = unsaid(bytes(levels), masked, committed, width, commit_confidence)
    return StepPlanes(len(steps), width, masked, committed, bytes(changed), tuple(ids), left)


def _rows(step: StepLike) -> tuple[Sequence[bool] | Sequence[int] | Sequence[float], ...]:
    return step.masked, step.proposal, step.confidence, step.committed


def _levels(step: StepLike) -> bytes:
    """A byte for the confidence at each masked position."""
    shown = list(compress(step.confidence, step.masked))
    known = compress(step.confidence, map(not_, step.masked))
    try:
        if any(known) or (shown and not (min(shown) >= 0 and max(shown) <= 1)):
            raise ValueError
        return bytes(map(level, shown))
    except ValueError as error:  # also what rounding says to NaN
        raise InvalidRecord("a step confidence is from 0 to 1, and 0 at a position that is not masked") from error


def _unpack(plane: bytes, planes: StepPlanes) -> _Bits:
    rows = np.frombuffer(plane, dtype=np.uint8).reshape(planes.steps, (planes.width + 7) // 8)
    return np.unpackbits(rows, axis=1, count=planes.width).astype(np.bool_)


def decode_steps(block: BlockTrace) -> tuple[Step, ...]:
    """Every step of the block, in order."""
    planes = block.steps
    if not planes.steps:
        return ()
    masked, committed = _unpack(planes.masked, planes), _unpack(planes.committed, planes)
    proposal = _replay(_unpack(planes.changed, planes), planes)
    confidence = np.zeros(masked.shape, dtype=np.float64)
    stated = masked
    if planes.abridged:
        stated = masked & ~committed
        settled = np.array([quantise(value) for value in block.commit_confidence])
        confidence = np.where(masked & committed, settled, 0.0)
    confidence[stated] = np.frombuffer(planes.confidence, dtype=np.uint8) / QUANTA
    return tuple(
        Step(tuple(masked[i].tolist()), tuple(proposal[i].tolist()), tuple(confidence[i].tolist()),
             tuple(committed[i].tolist()))
        for i in range(planes.steps)
    )  # fmt: skip


def _replay(changed: _Bits, planes: StepPlanes) -> _Ids:
    proposal = np.zeros(changed.shape, dtype=np.int64)
    proposal[changed] = planes.ids
    for step in range(1, planes.steps):
        kept = ~changed[step]
        proposal[step, kept] = proposal[step - 1, kept]
    return proposal


def decode_step(block: BlockTrace, index: int) -> Step:
    """One intermediate state by itself; raises InvalidRecord for a step that the block does not have."""
    if not 0 <= index < block.steps.steps:
        raise InvalidRecord(f"step {index} does not exist; the block has {block.steps.steps}")
    return decode_steps(block)[index]
