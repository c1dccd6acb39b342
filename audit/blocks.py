"""Kind 4: a diffusion block with every intermediate state, as it is in memory, in schema 1, and in the shorter 2 to 4.

Schema 1 writes each plane whole. Schema 2 leaves out what follows from the rest (masks that only commits lift, the proposals of
step 0, tokens that the last step proposes) and writes it where it does not follow, so each block still has one spelling.
Schema 3 is schema 2 with fewer bytes for smaller ids; those that come often are small. Schema 4, in which blocks are written,
also leaves out the confidence with which a step committed a token, if the block's own `commit_confidence` says the same.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import compress

from audit import forms
from audit.cbor import Value
from audit.errors import InvalidRecord, MalformedData
from audit.forms import BITS, BOOL, BYTES, FLOATS, IDS, SHORT_IDS, UINT, VARINTS, at

QUANTA = 255
_FLAGS, _OTHER = bytes.maketrans(b"01", b"\0\1"), bytes.maketrans(b"\0\1", b"\1\0")
MAX_WIDTH = 4096
"""Positions of a block. What is done with its rows takes time by the square of their width, so nobody may write wider ones."""


@dataclass(frozen=True, slots=True)
class StepPlanes:
    """Every denoising step of one block as deltas; made and read by `audit.trace`.

    Bit planes hold `steps` rows of ceil(width / 8) bytes, first position in the highest bit, padding zero.
    `ids` are the changed proposals row by row; step 0 has every position changed. `confidence` has one byte
    (255 = 1.0) per masked position row by row; abridged, none for those that the step itself commits.
    """

    steps: int = field(metadata=at(1, UINT))
    width: int = field(metadata=at(2, UINT))
    masked: bytes = field(metadata=at(3, BYTES))
    committed: bytes = field(metadata=at(4, BYTES))
    changed: bytes = field(metadata=at(5, BYTES))
    ids: tuple[int, ...] = field(metadata=at(6, IDS))
    confidence: bytes = field(metadata=at(7, BYTES))

    def __post_init__(self) -> None:
        if self.width > MAX_WIDTH:
            raise InvalidRecord(f"a block of {self.width} positions is wider than {MAX_WIDTH}")
        stride = (self.width + 7) // 8
        padding = (1 << (-self.width % 8)) - 1
        for plane in (self.masked, self.committed, self.changed):
            if len(plane) != self.steps * stride:
                raise InvalidRecord("a bit plane has not one row per step")
            if any(last & padding for last in plane[stride - 1 :: stride or 1]):
                raise InvalidRecord("the padding of a bit plane is not zero")
        if self.steps and _ones(self.changed[:stride]) != self.width:
            raise InvalidRecord("step 0 states every proposal")
        levels = _ones(self.masked)
        if len(self.confidence) != levels:
            levels -= (int.from_bytes(self.masked, "big") & int.from_bytes(self.committed, "big")).bit_count()
        if _ones(self.changed) != len(self.ids) or levels != len(self.confidence):
            raise InvalidRecord("bit planes and the values they announce disagree")

    @property
    def abridged(self) -> bool:
        """Whether the levels of what the steps commit are those of the block's `commit_confidence`, and stand there alone."""
        return len(self.confidence) != _ones(self.masked)


def _ones(plane: bytes) -> int:
    return int.from_bytes(plane, "big").bit_count()


def level(confidence: float) -> int:
    """The recorded form of a step's confidence: the nearest integer to 255 times it."""
    return round(confidence * QUANTA)


def unsaid(levels: bytes, masked: bytes, committed: bytes, width: int, commit_confidence: Sequence[float]) -> bytes:
    """Of the levels of every masked position of these planes, so wide, those that `commit_confidence` does not say.

    All of them if it says something else of any that a step commits, or if not every position has a value from 0 to 1.
    """
    settled = array("f", commit_confidence)  # in float32, as they are recorded
    if len(settled) != width or not _probabilities(settled):
        return levels
    bits, hidden, done = 8 * len(masked), int.from_bytes(masked, "big"), int.from_bytes(committed, "big")
    by_step = bytes(compress(_flags(done, bits), _flags(hidden, bits)))
    row = bytes(map(level, settled)) + bytes(-width % 8)
    said = bytes(compress(levels, by_step))
    if said != bytes(compress(row * (bits // len(row)), _flags(hidden & done, bits))):
        return levels
    return bytes(compress(levels, by_step.translate(_OTHER)))


def _probabilities(values: Sequence[float]) -> bool:
    """Whether there are some, and each is from 0 to 1."""
    return len(values) > 0 and all(0 <= value <= 1 for value in values)


def _abridged(planes: StepPlanes, commit_confidence: Sequence[float]) -> StepPlanes:
    if planes.abridged:
        return planes
    left = unsaid(planes.confidence, planes.masked, planes.committed, planes.width, commit_confidence)
    return planes if left == planes.confidence else replace(planes, confidence=left)


def _flags(plane: int, bits: int) -> bytes:
    """A byte for every bit of a plane, 0 or 1."""
    return f"{plane:0{bits}b}".encode().translate(_FLAGS)


@dataclass(frozen=True, slots=True)
class BlockTrace:
    """Kind 4: one diffusion block, every intermediate state and what the causal pass thought of it.

    All planes have the block's length B; an unfinished block may leave the last three empty.
    """

    index: int = field(metadata=at(1, UINT))
    start: int = field(metadata=at(2, UINT))
    seeded: bool = field(metadata=at(3, BOOL))
    steps: StepPlanes = field(metadata=at(4, forms.nested(StepPlanes)))
    tokens: tuple[int, ...] = field(metadata=at(5, IDS))
    commit_confidence: tuple[float, ...] = field(metadata=at(6, FLOATS))
    verifier_logprob: tuple[float, ...] = field(metadata=at(7, FLOATS))
    agreement: tuple[bool, ...] = field(metadata=at(8, BITS))
    emitted: int = field(metadata=at(9, UINT))
    forwards: int = field(metadata=at(10, UINT))
    complete: bool = field(metadata=at(11, BOOL))

    def __post_init__(self) -> None:
        width, optional = len(self.tokens), (self.commit_confidence, self.verifier_logprob, self.agreement)
        if self.steps.steps and self.steps.width != width:
            raise InvalidRecord("the steps of a block have another width than its tokens")
        if any(len(plane) != width and (self.complete or plane) for plane in optional):
            raise InvalidRecord("a plane of a block has another length than its tokens")
        if self.emitted > width:
            raise InvalidRecord("a block cannot emit more tokens than it has")
        if self.steps.abridged and not _probabilities(self.commit_confidence):
            raise InvalidRecord("what a step committed has no confidence, neither there nor in the block")

    @property
    def output(self) -> tuple[int, ...]:
        """The leading tokens that belong to the answer."""
        return self.tokens[: self.emitted]


@dataclass(frozen=True, slots=True)
class _Steps2:
    """Planes of schema 2: `masked` has one row, or all if a mask does not follow; `changed` begins with step 1."""

    steps: int = field(metadata=at(1, UINT))
    width: int = field(metadata=at(2, UINT))
    masked: bytes = field(metadata=at(3, BYTES))
    committed: bytes = field(metadata=at(4, BYTES))
    changed: bytes = field(metadata=at(5, BYTES))
    ids: tuple[int, ...] = field(metadata=at(6, SHORT_IDS))
    confidence: bytes = field(metadata=at(7, BYTES))


@dataclass(frozen=True, slots=True)
class _Block2:
    """A block of schema 2: `tokens` are None if they are what the last step proposes."""

    index: int = field(metadata=at(1, UINT))
    start: int = field(metadata=at(2, UINT))
    seeded: bool = field(metadata=at(3, BOOL))
    steps: _Steps2 = field(metadata=at(4, forms.nested(_Steps2)))
    tokens: tuple[int, ...] | None = field(metadata=at(5, forms.maybe(SHORT_IDS)))
    commit_confidence: tuple[float, ...] = field(metadata=at(6, FLOATS))
    verifier_logprob: tuple[float, ...] = field(metadata=at(7, FLOATS))
    agreement: tuple[bool, ...] = field(metadata=at(8, BITS))
    emitted: int = field(metadata=at(9, UINT))
    forwards: int = field(metadata=at(10, UINT))
    complete: bool = field(metadata=at(11, BOOL))


@dataclass(frozen=True, slots=True)
class _Steps3(_Steps2):
    """The same in schema 3."""

    ids: tuple[int, ...] = field(metadata=at(6, VARINTS))


@dataclass(frozen=True, slots=True)
class _Block3(_Block2):
    """The same in schema 3."""

    steps: _Steps3 = field(metadata=at(4, forms.nested(_Steps3)))
    tokens: tuple[int, ...] | None = field(metadata=at(5, forms.maybe(VARINTS)))


def write_fourth(block: BlockTrace) -> bytes:
    """The bytes of schema 4, which has the form of schema 3; raises InvalidRecord for a field out of its form."""
    planes, stride = _abridged(block.steps, block.commit_confidence), (block.steps.width + 7) // 8
    masked = planes.masked[:stride] if planes.steps and _follows(planes, stride) else planes.masked
    steps = _Steps3(
        planes.steps, planes.width, masked, planes.committed, planes.changed[stride:], planes.ids, planes.confidence
    )
    follows = planes.steps > 0 and block.tokens == _last_proposal(planes)
    return forms.write(
        _Block3(
            block.index, block.start, block.seeded, steps, None if follows else block.tokens, block.commit_confidence,
            block.verifier_logprob, block.agreement, block.emitted, block.forwards, block.complete,
        )
    )  # fmt: skip


def read_first(value: Value) -> BlockTrace:
    """The block of a CBOR map of schema 1; raises MalformedData."""
    return _whole(forms.unpack(BlockTrace, value))


def read_second(value: Value) -> BlockTrace:
    """The same of schema 2, also where something is written that follows."""
    return _whole(_block(forms.unpack(_Block2, value)))


def read_third(value: Value) -> BlockTrace:
    """The same of schema 3."""
    return _whole(_block(forms.unpack(_Block3, value)))


def read_fourth(value: Value) -> BlockTrace:
    """The same of schema 4."""
    found = _block(forms.unpack(_Block3, value))
    if _abridged(found.steps, found.commit_confidence) is not found.steps:
        raise MalformedData("the confidences of a block's commits are written twice")
    return found


def _whole(found: BlockTrace) -> BlockTrace:
    """The block, if it has every confidence, as earlier schemas do."""
    if found.steps.abridged:
        raise MalformedData("bit planes and the values they announce disagree")
    return found


def _block(found: _Block2) -> BlockTrace:
    try:
        planes = _expanded(found.steps)
        if found.tokens is None and not planes.steps:
            raise MalformedData("a block without steps states its tokens")
        last = _last_proposal(planes) if planes.steps else ()
        if planes.steps and found.tokens == last:
            raise MalformedData("the tokens of a block are written although the last step proposes them")
        return BlockTrace(
            found.index, found.start, found.seeded, planes, last if found.tokens is None else found.tokens,
            found.commit_confidence, found.verifier_logprob, found.agreement, found.emitted, found.forwards, found.complete,
        )  # fmt: skip
    except InvalidRecord as error:
        raise MalformedData(str(error)) from error


def _expanded(found: _Steps2) -> StepPlanes:
    if found.width > MAX_WIDTH:
        raise MalformedData(f"a block of {found.width} positions is wider than {MAX_WIDTH}")
    stride = (found.width + 7) // 8
    if len(found.committed) != found.steps * stride:  # so nothing below is larger than what is here
        raise MalformedData("a block has one row of commits per step")
    masked = _lifted(found.masked[:stride], found.committed, stride)
    if len(found.masked) > stride:
        if found.masked == masked:
            raise MalformedData("the masks of a block are written although they follow")
        masked = found.masked
    first = ((1 << found.width) - 1 << -found.width % 8).to_bytes(stride, "big") if found.steps else b""
    return StepPlanes(found.steps, found.width, masked, found.committed, first + found.changed, found.ids, found.confidence)


def _lifted(first: bytes, committed: bytes, stride: int) -> bytes:
    """The masks before each step if nothing but the commits of earlier steps lifts them."""
    row, rows = int.from_bytes(first, "big"), [first]
    for start in range(0, len(committed) - stride, stride or 1):
        row &= ~int.from_bytes(committed[start : start + stride], "big")
        rows.append(row.to_bytes(stride, "big"))
    return b"".join(rows)


def _follows(planes: StepPlanes, stride: int) -> bool:
    """Whether the masks are what `_lifted` makes of the first: all rows as one number each, shifted by a row."""
    masked, committed = int.from_bytes(planes.masked, "big"), int.from_bytes(planes.committed, "big")
    later = (1 << 8 * stride * (planes.steps - 1)) - 1
    return masked & later == (masked >> 8 * stride) & ~(committed >> 8 * stride)


def _last_proposal(planes: StepPlanes) -> tuple[int, ...]:
    """What the last step proposes: for each position the last id that was stated for it."""
    width, stride = planes.width, (planes.width + 7) // 8
    proposal, at_id = list(planes.ids[:width]), width
    for start in range(stride, len(planes.changed), stride or 1):
        row = int.from_bytes(planes.changed[start : start + stride], "big") >> (-width % 8)
        while row:
            place = row.bit_length()
            proposal[width - place] = planes.ids[at_id]
            at_id += 1
            row ^= 1 << (place - 1)
    return tuple(proposal)
