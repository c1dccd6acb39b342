"""The shorter schemas of a block leave out what follows from the rest, lose nothing, and have one spelling for every block."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import cbor
from audit.blocks import BlockTrace
from audit.errors import InvalidRecord, MalformedData
from audit.forms import write
from audit.records import BLOCK_SCHEMA, SCHEMA, Kind, decode_body, encode_body
from audit.trace import Step, decode_steps, encode_steps
from tests.audit.samples import BLOCK, SURE, in_schema
from tests.audit.test_trace import traces

VECTORS = Path(__file__).parent / "vectors"


def block_of(steps: list[Step], tokens: tuple[int, ...], commit_confidence: tuple[float, ...] = ()) -> BlockTrace:
    """A block of these steps."""
    return dataclasses.replace(
        BLOCK, steps=encode_steps(steps, commit_confidence), tokens=tokens, commit_confidence=commit_confidence,
        verifier_logprob=(), agreement=(), emitted=0, complete=False,
    )  # fmt: skip


@st.composite
def denoised(draw: st.DrawFn) -> BlockTrace:
    """A block as an engine denoises it: commits lift masks, known positions keep their token, the last step is what stays."""
    width = draw(st.integers(1, 20))
    ids = st.integers(0, draw(st.sampled_from([9, 65_535, 65_536, 2**24 - 1, 2**24, 2**32 - 1])))
    masked, proposal = [True] * width, [draw(ids) for _ in range(width)]
    steps, settled = [], [0.0] * width
    for _ in range(draw(st.integers(1, 5))):
        committed = [hidden and draw(st.booleans()) for hidden in masked]
        confidence = tuple(draw(st.floats(0, 1, width=32)) if hidden else 0.0 for hidden in masked)
        settled = [new if done else old for new, old, done in zip(confidence, settled, committed, strict=True)]
        steps.append(Step(tuple(masked), tuple(proposal), confidence, tuple(committed)))
        masked = [hidden and not done for hidden, done in zip(masked, committed, strict=True)]
        proposal = [draw(ids) if hidden else token for hidden, token in zip(masked, proposal, strict=True)]
    return block_of(steps, steps[-1].proposal, tuple(settled))


@given(denoised())
def test_what_follows_is_not_written(block: BlockTrace) -> None:
    """Later masks, proposals of step 0, the tokens and how sure each was are not in a block's bytes, and come back."""
    data = encode_body(block)
    assert decode_body(Kind.BLOCK, BLOCK_SCHEMA, data) == block
    entries: Any = cbor.decode(data)
    stride, planes = (block.steps.width + 7) // 8, entries[4]
    assert entries[5] is None
    assert (len(planes[3]), len(planes[5])) == (stride, (block.steps.steps - 1) * stride)
    left = sum(hidden and not done for step in decode_steps(block) for hidden, done in zip(*_marks(step), strict=True))
    assert len(planes[7]) == left
    assert len(data) < len(write(block))


def _marks(step: Step) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    return step.masked, step.committed


@given(denoised(), st.data())
def test_how_sure_a_commit_was_is_told_once(block: BlockTrace, data: st.DataObject) -> None:
    """A step says it if the block says something else or nothing, and in earlier schemas; readers find the same."""
    steps, sure = decode_steps(block), block.commit_confidence
    committed = [place for step in steps for place, done in enumerate(step.committed) if done]
    whole = dataclasses.replace(block, steps=encode_steps(steps))
    assert not whole.steps.abridged and whole.steps.confidence and decode_steps(whole) == steps
    assert block.steps.abridged == bool(committed) and encode_body(whole) == encode_body(block)
    for schema in range(SCHEMA, BLOCK_SCHEMA):
        assert decode_body(Kind.BLOCK, schema, in_schema(schema, whole)) == whole
        if committed:
            with pytest.raises(MalformedData):
                decode_body(Kind.BLOCK, schema, in_schema(schema, block))
    if not committed:
        return
    with pytest.raises(MalformedData, match="twice"):
        decode_body(Kind.BLOCK, BLOCK_SCHEMA, in_schema(3, whole))
    place = data.draw(st.sampled_from(committed))
    other = (*sure[:place], data.draw(st.sampled_from([0.25, 1.5, -1.0, math.nan])), *sure[place + 1 :])
    if round(255 * sure[place]) != 64:
        apart = dataclasses.replace(whole, steps=encode_steps(steps, other), commit_confidence=other)
        assert not apart.steps.abridged and decode_steps(apart) == steps
        back = decode_body(Kind.BLOCK, BLOCK_SCHEMA, encode_body(apart))
        assert isinstance(back, BlockTrace) and decode_steps(back) == steps
    for nothing in ((), (1.5,) * len(sure), (math.nan,) * len(sure)):
        with pytest.raises(InvalidRecord, match="no confidence"):
            dataclasses.replace(block, commit_confidence=nothing)


@given(traces(), st.data())
def test_what_does_not_follow_is_written(steps: list[Step], data: st.DataObject) -> None:
    """Masks that come back, and tokens that no step proposed, are kept: any block at all survives every schema."""
    width = len(steps[0].masked) if steps else 4
    tokens = tuple(data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=width, max_size=width)))
    block = block_of(steps, tokens)
    assert decode_body(Kind.BLOCK, BLOCK_SCHEMA, encode_body(block)) == block
    for schema in range(SCHEMA, BLOCK_SCHEMA):
        assert decode_body(Kind.BLOCK, schema, in_schema(schema, block)) == block


def test_earlier_schemas_are_read_as_they_were_published() -> None:
    """The published bytes of earlier schemas are what the tests take them for; a block that is told twice has its own."""
    for schema in (2, 3):
        assert in_schema(schema, BLOCK) == cbor.encode(_entries(schema))
    assert encode_body(SURE) == cbor.encode(_entries(4, " abridged")) != encode_body(BLOCK)


def test_a_block_wider_than_any_is_refused_at_once() -> None:
    """A width of millions, for which a record has room, costs a reader nothing in whichever schema it is written."""
    width = 1 << 20
    stride = width // 8
    short = cbor.Typed.of(cbor.Element.UINT16, [1] * width)
    for schema, ids in ((SCHEMA, short), (2, short), (BLOCK_SCHEMA, bytes(width))):
        steps = {1: 1, 2: width, 3: bytes(stride), 4: bytes(stride), 5: b"\xff" * stride, 6: ids, 7: b""}
        started = time.process_time()
        with pytest.raises(MalformedData, match="wider than 4096"):
            decode_body(Kind.BLOCK, schema, cbor.encode(_entries(2) | {4: steps}))
        assert time.process_time() - started < 2
    with pytest.raises(InvalidRecord, match="wider than 4096"):
        dataclasses.replace(BLOCK.steps, width=4097)


@given(st.integers(0, 2**32 - 1))
def test_an_id_takes_a_byte_for_every_seven_bits(token: int) -> None:
    """Small ids are short, and every id comes back."""
    block = block_of([Step((True,), (token,), (1.0,), (True,))], (token,))
    planes: Any = cbor.decode(encode_body(block))
    assert len(planes[4][6]) == max(1, -(-token.bit_length() // 7))
    assert decode_body(Kind.BLOCK, BLOCK_SCHEMA, encode_body(block)) == block


@pytest.mark.parametrize("token", [-1, 2**32])
def test_ids_out_of_range_are_not_written(token: int) -> None:
    """What is no id of 32 bits is refused before it is bytes."""
    with pytest.raises(InvalidRecord, match="token id"):
        encode_body(block_of([Step((True,), (5,), (1.0,), (True,))], (token,)))


def _entries(schema: int, which: str = "") -> dict[int, Any]:
    """The published bytes of the sample in a schema, as the map that they are."""
    golden = json.loads((VECTORS / "bodies.json").read_text())[f"4/{schema}{which}"]
    found: Any = cbor.decode(bytes.fromhex(golden))
    return dict(found)


def _of_both(schema: int) -> list[tuple[str, dict[int, Any]]]:
    entries = _entries(schema)
    steps, none = entries[4], {2: cbor.Typed(cbor.Element.UINT16, b""), 3: b""}[schema]
    tokens = {2: cbor.Typed.of(cbor.Element.UINT16, BLOCK.tokens), 3: bytes(BLOCK.tokens)}[schema]
    few = {2: cbor.Typed.of(cbor.Element.UINT16, [7, 40]), 3: bytes((7, 40))}[schema]
    return [
        ("masks that follow", {4: {**steps, 3: BLOCK.steps.masked}}),
        ("tokens that follow", {5: tokens}),
        ("masks of another length", {4: {**steps, 3: b"\x70\x30\x00"}}),
        ("no masks", {4: {**steps, 3: b""}}),
        ("commits of another length", {4: {**steps, 4: b"\x40"}}),
        ("proposals of step 0", {4: {**steps, 5: b"\xf0\x20"}}),
        ("steps without a width", {4: {**steps, 2: 0}}),
        ("more steps than bytes", {4: {**steps, 1: 2**60}}),
        ("a width beyond all bytes", {4: {**steps, 2: 2**60}}),
        ("too few ids", {4: {**steps, 6: few}}),
        ("no steps and no tokens", {4: {1: 0, 2: 0, 3: b"", 4: b"", 5: b"", 6: none, 7: b""}}),
    ]


def _of_ids(schema: int) -> list[tuple[str, dict[int, Any]]]:
    steps = _entries(schema)[4]
    spelt = {
        2: [
            ("ids in too many bytes", cbor.Typed.of(cbor.Element.UINT32, [70_000] * 5)),
            ("ids in three bytes for two", b"\x00\x00\x07" * 5),
            ("ids cut off", b"\x01\x00\x07\x01"),
        ],
        3: [
            ("ids as an array of numbers", cbor.Typed.of(cbor.Element.UINT16, BLOCK.steps.ids)),
            ("an id in too many bytes", b"\x07\x28\x32\x3c\x83\x00"),
            ("an id cut off", b"\x07\x28\x32\x3c\x83"),
            ("an id beyond 32 bits", b"\x07\x28\x32\x3c\xff\xff\xff\xff\x1f"),
            ("an id of six bytes", b"\x07\x28\x32\x3c\x80\x80\x80\x80\x80\x01"),
        ],
    }
    return [(name, {4: {**steps, 6: ids}}) for name, ids in spelt[schema]]


WRONG = [(schema, name, change) for schema in (2, 3) for name, change in _of_both(schema) + _of_ids(schema)]


@pytest.mark.parametrize(
    ("schema", "change"),
    [(schema, change) for schema, _, change in WRONG],
    ids=[f"{name} in schema {schema}" for schema, name, _ in WRONG],
)
def test_other_spellings_are_malformed(schema: int, change: dict[int, Any]) -> None:
    """What follows and is written, what is cut off, and what does not fit together is refused, without taking memory for it."""
    entries = _entries(schema)
    assert decode_body(Kind.BLOCK, schema, cbor.encode(entries)) == BLOCK
    with pytest.raises(MalformedData):
        decode_body(Kind.BLOCK, schema, cbor.encode({**entries, **change}))
