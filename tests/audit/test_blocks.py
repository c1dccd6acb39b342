"""The shorter schemas of a block leave out what follows from the rest, lose nothing, and have one spelling for every block."""

from __future__ import annotations

import dataclasses
import json
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
from audit.trace import Step, encode_steps
from tests.audit.samples import BLOCK, in_second_schema
from tests.audit.test_trace import traces

VECTORS = Path(__file__).parent / "vectors"


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
    """Masks that come back, and tokens that no step proposed, are kept: any block at all survives every schema."""
    width = len(steps[0].masked) if steps else 4
    tokens = tuple(data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=width, max_size=width)))
    block = block_of(steps, tokens)
    assert decode_body(Kind.BLOCK, BLOCK_SCHEMA, encode_body(block)) == block
    assert decode_body(Kind.BLOCK, SCHEMA, write(block)) == block
    assert decode_body(Kind.BLOCK, 2, in_second_schema(block)) == block


def test_schema_2_is_read_as_it_was_published() -> None:
    """The published bytes of schema 2 are what the tests take it for."""
    assert in_second_schema(BLOCK) == cbor.encode(_entries(2))


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


def _entries(schema: int) -> dict[int, Any]:
    """The published bytes of the sample in a schema, as the map that they are."""
    golden = json.loads((VECTORS / "bodies.json").read_text())[f"4/{schema}"]
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
