"""Schema 2 of a block leaves out what follows from the rest, loses nothing, and has one spelling for every block."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import cbor
from audit.blocks import BlockTrace
from audit.errors import MalformedData
from audit.forms import write
from audit.records import BLOCK_SCHEMA, SCHEMA, Kind, decode_body, encode_body
from audit.trace import Step, encode_steps
from tests.audit.samples import BLOCK
from tests.audit.test_trace import traces


def block_of(steps: list[Step], tokens: tuple[int, ...]) -> BlockTrace:
    """A block of these steps."""
    return dataclasses.replace(
        BLOCK, steps=encode_steps(steps), tokens=tokens, commit_confidence=(), verifier_logprob=(), agreement=(), emitted=0,
        complete=False,
    )  # fmt: skip


@st.composite
def denoised(draw: st.DrawFn) -> BlockTrace:
    """A block as an engine denoises it: commits lift masks, known positions keep their token, the last step is what stays."""
    width = draw(st.integers(1, 20))
    ids = st.integers(0, draw(st.sampled_from([9, 65_535, 65_536, 2**24 - 1, 2**24, 2**32 - 1])))
    masked, proposal = [True] * width, [draw(ids) for _ in range(width)]
    steps = []
    for _ in range(draw(st.integers(1, 5))):
        committed = [hidden and draw(st.booleans()) for hidden in masked]
        confidence = tuple(float(hidden) for hidden in masked)
        steps.append(Step(tuple(masked), tuple(proposal), confidence, tuple(committed)))
        masked = [hidden and not done for hidden, done in zip(masked, committed, strict=True)]
        proposal = [draw(ids) if hidden else token for hidden, token in zip(masked, proposal, strict=True)]
    return block_of(steps, steps[-1].proposal)


@given(denoised())
def test_what_follows_is_not_written(block: BlockTrace) -> None:
    """Masks after the first, proposals of step 0 and the tokens of a denoised block are not in its bytes, and come back."""
    data = encode_body(block)
    assert decode_body(Kind.BLOCK, BLOCK_SCHEMA, data) == block
    entries: Any = cbor.decode(data)
    stride, planes = (block.steps.width + 7) // 8, entries[4]
    assert entries[5] is None
    assert (len(planes[3]), len(planes[5])) == (stride, (block.steps.steps - 1) * stride)
    assert len(data) < len(write(block))


@given(traces(), st.data())
def test_what_does_not_follow_is_written(steps: list[Step], data: st.DataObject) -> None:
    """Masks that come back, and tokens that no step proposed, are kept: any block at all survives both schemas."""
    width = len(steps[0].masked) if steps else 4
    tokens = tuple(data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=width, max_size=width)))
    block = block_of(steps, tokens)
    assert decode_body(Kind.BLOCK, BLOCK_SCHEMA, encode_body(block)) == block
    assert decode_body(Kind.BLOCK, SCHEMA, write(block)) == block


@given(st.integers(0, 2**32 - 1))
def test_ids_take_the_least_of_three_widths(token: int) -> None:
    """One id takes two, three or four bytes."""
    block = block_of([Step((True,), (token,), (1.0,), (True,))], (token,))
    planes: Any = cbor.decode(encode_body(block))
    ids = planes[4][6]
    assert len(ids if isinstance(ids, bytes) else ids.data) == (2 if token < 2**16 else 3 if token < 2**24 else 4)


def _wrong() -> list[tuple[str, dict[int, Any]]]:
    steps: Any = cbor.decode(encode_body(BLOCK))[4]  # type: ignore[index]
    wide = cbor.Typed.of(cbor.Element.UINT32, [70_000] * 5)
    return [
        ("masks that follow", {4: {**steps, 3: BLOCK.steps.masked}}),
        ("tokens that follow", {5: cbor.Typed.of(cbor.Element.UINT16, BLOCK.tokens)}),
        ("masks of another length", {4: {**steps, 3: b"\x70\x30\x00"}}),
        ("no masks", {4: {**steps, 3: b""}}),
        ("commits of another length", {4: {**steps, 4: b"\x40"}}),
        ("proposals of step 0", {4: {**steps, 5: b"\xf0\x20"}}),
        ("steps without a width", {4: {**steps, 2: 0}}),
        ("more steps than bytes", {4: {**steps, 1: 2**60}}),
        ("a width beyond all bytes", {4: {**steps, 2: 2**60}}),
        ("too few ids", {4: {**steps, 6: cbor.Typed.of(cbor.Element.UINT16, [7, 40])}}),
        ("ids in too many bytes", {4: {**steps, 6: wide}}),
        ("ids in three bytes for two", {4: {**steps, 6: b"\x00\x00\x07" * 5}}),
        ("ids cut off", {4: {**steps, 6: b"\x01\x00\x07\x01"}}),
        ("no steps and no tokens", {4: {1: 0, 2: 0, 3: b"", 4: b"", 5: b"", 6: cbor.Typed(cbor.Element.UINT16, b""), 7: b""}}),
    ]  # fmt: skip


@pytest.mark.parametrize("change", [change for _, change in _wrong()], ids=[name for name, _ in _wrong()])
def test_other_spellings_are_malformed(change: dict[int, Any]) -> None:
    """What follows and is written, what is cut off, and what does not fit together is refused, without taking memory for it."""
    entries: Any = cbor.decode(encode_body(BLOCK))
    with pytest.raises(MalformedData):
        decode_body(Kind.BLOCK, BLOCK_SCHEMA, cbor.encode({**entries, **change}))
