"""Laws of the denoising trace: what is recorded is what happened, step by step."""

import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.blocks import QUANTA, BlockTrace, StepPlanes
from audit.errors import InvalidRecord, MalformedData
from audit.records import BLOCK_SCHEMA, Kind, decode_body, encode_body
from audit.trace import Step, decode_step, decode_steps, encode_steps, quantise
from tests.audit.samples import BLOCK, STEPS


@st.composite
def traces(draw: st.DrawFn) -> list[Step]:
    """Steps of one block of any width, with any masks, proposals and recorded confidences."""
    width, ids = draw(st.integers(1, 37)), st.integers(0, draw(st.sampled_from([3, 65535, 2**32 - 1])))
    bits = st.lists(st.booleans(), min_size=width, max_size=width)
    levels = st.lists(st.integers(0, QUANTA), min_size=width, max_size=width)
    steps = []
    for _ in range(draw(st.integers(0, 6))):
        masked = draw(bits)
        confidence = tuple(n / QUANTA if m else 0.0 for n, m in zip(draw(levels), masked, strict=True))
        proposal = tuple(draw(st.lists(ids, min_size=width, max_size=width)))
        steps.append(Step(tuple(masked), proposal, confidence, tuple(draw(bits))))
    return steps


def traced(steps: Sequence[Step], commit_confidence: tuple[float, ...] = ()) -> BlockTrace:
    """An unfinished block of these steps."""
    planes = encode_steps(steps, commit_confidence)
    return BlockTrace(
        index=1, start=2, seeded=False, steps=planes, tokens=(5,) * planes.width, commit_confidence=commit_confidence,
        verifier_logprob=(), agreement=(), emitted=0, forwards=len(steps), complete=False,
    )  # fmt: skip


@given(traces())
def test_round_trip_is_exact(steps: list[Step]) -> None:
    """Every mask, proposal, commit and recorded confidence comes back as it was."""
    block = traced(steps)
    assert decode_steps(block) == tuple(steps)
    assert all(decode_step(block, index) == step for index, step in enumerate(steps))


@given(traces())
def test_round_trip_through_bytes(steps: list[Step]) -> None:
    """The trace survives the record's bytes, and encoding it again gives the same planes."""
    body = traced(steps)
    back = decode_body(Kind.BLOCK, BLOCK_SCHEMA, encode_body(body))
    assert isinstance(back, BlockTrace)
    assert back == body
    assert encode_steps(decode_steps(back)) == body.steps


@given(st.floats(0, 1))
def test_confidence_is_kept_within_one_quantum(confidence: float) -> None:
    """A recorded step confidence is the nearest 1/255, and recording it again changes nothing."""
    step = Step((True,), (9,), (confidence,), (True,))
    (back,) = decode_steps(traced([step]))
    assert back.confidence == (quantise(confidence),)
    assert abs(back.confidence[0] - confidence) <= 0.5 / QUANTA + 1e-12
    assert decode_steps(traced([back])) == (back,)


def test_only_changes_are_stored() -> None:
    """A proposal that stays is stored once."""
    still = Step((True,) * 8, tuple(range(8)), (0.0,) * 8, (False,) * 8)
    moved = dataclasses.replace(still, proposal=(9, *range(1, 8)))
    assert encode_steps([still, still, moved]).ids == (*range(8), 9)


@pytest.mark.parametrize(
    "change",
    [
        {"proposal": (1, 2)}, {"committed": ()}, {"confidence": (0.5, 1.5, 0, 0)},
        {"confidence": (0.5, 0, 0, 0)},
        {"confidence": (0.0, float("nan"),
        0, 0)}, {"proposal": (1, 2, 3, -1)}, {"proposal": (1, 2, 3, 2**32)},
    ],
)  # fmt: skip
def test_impossible_steps_are_refused(change: dict[str, tuple[float, ...]]) -> None:
    """Ragged rows, confidences outside 0 to 1 or at known positions, and wide ids are not recorded."""
    with pytest.raises(InvalidRecord):
        encode_steps([STEPS[0], dataclasses.replace(STEPS[0], **change)])  # type: ignore[arg-type]


@pytest.mark.parametrize("index", [-1, 2])
def test_a_step_that_does_not_exist_is_an_error(index: int) -> None:
    """Asking for a step outside the block is answered by an error, not by the last step."""
    with pytest.raises(InvalidRecord, match="does not exist"):
        decode_step(BLOCK, index)


@pytest.mark.parametrize(
    "change",
    [
        {"masked": b"\x70"}, {"masked": b"\x71\x30"}, {"committed": b""}, {"ids": (1, 2)},
        {"confidence": b""},
        {"changed": b"\x70\x20"}, {"steps": 3}, {"width": 9},
    ],
)  # fmt: skip
def test_planes_that_disagree_are_refused(change: dict[str, bytes]) -> None:
    """Planes whose sizes, padding or counts contradict one another cannot be made, nor read."""
    with pytest.raises(InvalidRecord):
        dataclasses.replace(BLOCK.steps, **change)  # type: ignore[arg-type]


def test_disagreeing_planes_are_malformed_when_read() -> None:
    """The same contradiction inside stored bytes is malformed data."""
    good = encode_body(BLOCK)
    plane = b"\x41" + BLOCK.steps.masked[:1]
    bad = good.replace(plane, b"\x41\x00", 1)
    assert bad != good
    with pytest.raises(MalformedData):
        decode_body(Kind.BLOCK, BLOCK_SCHEMA, bad)


def test_a_block_without_steps_has_empty_planes() -> None:
    """A block that was aborted before its first step is still a block."""
    assert encode_steps([]) == StepPlanes(0, 0, b"", b"", b"", (), b"")
    assert decode_steps(traced([])) == ()
