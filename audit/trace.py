"""The steps of a denoising block as deltas of numpy planes, and back, exactly.

What returns from `decode_steps` equals what went into `encode_steps`: masks, proposals and commits bit for
bit, and confidences after rounding to the nearest 1/255, which is their recorded form. Each step stays
addressable by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from audit.blocks import StepPlanes
from audit.errors import InvalidRecord

QUANTA = 255
MAX_WIDTH = 4096

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
    return round(float(confidence) * QUANTA) / QUANTA


def encode_steps(steps: Sequence[StepLike]) -> StepPlanes:
    """The planes of a block's steps; raises InvalidRecord for ragged steps or confidences outside 0 to 1."""
    if not steps:
        return StepPlanes(0, 0, b"", b"", b"", (), b"")
    width = len(steps[0].masked)
    if any(len(row) != width for step in steps for row in _rows(step)) or not 0 < width <= MAX_WIDTH:
        raise InvalidRecord("the steps of a block have one width, from 1 up")
    masked = np.array([step.masked for step in steps], dtype=np.bool_)
    proposal = np.array([step.proposal for step in steps], dtype=np.int64)
    confidence = np.array([step.confidence for step in steps], dtype=np.float64)
    _check_values(masked, proposal, confidence)
    changed = np.ones_like(masked)
    changed[1:] = proposal[1:] != proposal[:-1]
    levels = np.rint(confidence[masked] * QUANTA).astype(np.uint8)
    committed = np.array([step.committed for step in steps], dtype=np.bool_)
    ids = tuple(proposal[changed].tolist())
    return StepPlanes(
        len(steps), width, _pack(masked), _pack(committed), _pack(changed), ids, levels.tobytes()
    )  # fmt: skip


def _rows(step: StepLike) -> tuple[Sequence[bool] | Sequence[int] | Sequence[float], ...]:
    return step.masked, step.proposal, step.confidence, step.committed


def _check_values(masked: _Bits, proposal: _Ids, confidence: NDArray[np.float64]) -> None:
    if not bool(np.all((confidence >= 0) & (confidence <= 1))) or bool(np.any(confidence[~masked])):
        raise InvalidRecord("a step confidence is from 0 to 1, and 0 at a position that is not masked")
    if bool(np.any((proposal < 0) | (proposal >= 1 << 32))):
        raise InvalidRecord("a proposed token id is from 0 below 2^32")


def _pack(bits: _Bits) -> bytes:
    return np.packbits(bits, axis=1).tobytes()


def _unpack(plane: bytes, planes: StepPlanes) -> _Bits:
    rows = np.frombuffer(plane, dtype=np.uint8).reshape(planes.steps, (planes.width + 7) // 8)
    return np.unpackbits(rows, axis=1, count=planes.width).astype(np.bool_)


def decode_steps(planes: StepPlanes) -> tuple[Step, ...]:
    """Every step of the block, in order."""
    if not planes.steps:
        return ()
    masked, changed = _unpack(planes.masked, planes), _unpack(planes.changed, planes)
    confidence = np.zeros(masked.shape, dtype=np.float64)
    confidence[masked] = np.frombuffer(planes.confidence, dtype=np.uint8) / QUANTA
    committed, proposal = _unpack(planes.committed, planes), _replay(changed, planes)
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


def decode_step(planes: StepPlanes, index: int) -> Step:
    """One intermediate state by itself; raises InvalidRecord for a step that the block does not have."""
    if not 0 <= index < planes.steps:
        raise InvalidRecord(f"step {index} does not exist; the block has {planes.steps}")
    return decode_steps(planes)[index]
