"""Laws of headers: fixed bytes, strict parsing, leaf hashes and record ids."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import cbor
from audit.errors import InvalidRecord, MalformedData
from audit.header import MAX_HEADER_BYTES, Header, decode_header, leaf_hash, uuid7

UINTS = st.integers(0, 2**63 - 1)
VECTORS = Path(__file__).parent / "vectors"
RECORD = UUID("0198c0de-0001-7000-8000-000000000001")
REQUEST = UUID("0198c0de-0002-7000-8000-000000000002")
HEADER = Header(
    tenant="acme", seq=7, ts=1_795_000_000_000_000, record=RECORD, request=REQUEST, kind=4, schema=1,
    actor="gateway", policy=bytes(range(32)), key_id="2026-11-0011223344556677", body_length=300,
    body_sha256=bytes(range(32, 64)),
)  # fmt: skip


def test_golden_bytes() -> None:
    """The header of the published vector has the published bytes and leaf hash."""
    golden = json.loads((VECTORS / "header.json").read_text())
    assert HEADER.encode().hex() == golden["header"]
    assert leaf_hash(HEADER.encode()).hex() == golden["leaf"]
    assert decode_header(bytes.fromhex(golden["header"])) == HEADER


def test_a_header_is_an_array_of_thirteen() -> None:
    """The fields stand in their fixed order behind the version."""
    fields = cbor.decode(HEADER.encode())
    assert isinstance(fields, list)
    assert fields == [
        1, "acme", 7, 1_795_000_000_000_000, RECORD.bytes, REQUEST.bytes, 4, 1, "gateway", HEADER.policy,
        "2026-11-0011223344556677", 300, HEADER.body_sha256,
    ]  # fmt: skip


def test_leaf_hash_is_domain_separated() -> None:
    """A leaf is SHA-256 of a zero byte and the header, as RFC 6962 has it."""
    assert leaf_hash(b"x") == hashlib.sha256(b"\x00x").digest()


@given(UINTS, UINTS, st.none() | st.uuids(), st.none() | st.binary(min_size=32, max_size=32))
def test_round_trip(seq: int, ts: int, request: UUID | None, policy: bytes | None) -> None:
    """Decoding the stored bytes gives the header back."""
    header = dataclasses.replace(HEADER, seq=seq, ts=ts, request=request, policy=policy)
    assert decode_header(header.encode()) == header


@given(st.data())
def test_any_changed_byte_is_refused_or_another_header(data: st.DataObject) -> None:
    """A flipped bit never decodes to the same header."""
    raw = bytearray(HEADER.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        other = decode_header(bytes(raw))
    except MalformedData:
        return
    assert other != HEADER
    assert other.encode() == bytes(raw)


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": ""}, {"tenant": "Acme"}, {"tenant": "a/b"}, {"tenant": "a" * 64}, {"seq": -1},
        {"seq": 2**63},
        {"ts": True}, {"kind": 0}, {"schema": 0}, {"actor": ""}, {"actor": "a" * 257}, {"policy": b"x"},
        {"key_id": "k" * 129}, {"body_sha256": b""}, {"body_length": 1 << 40},
        {"record": UUID("c9bf9e57-1685-4c89-bafb-ff5af830be8a")},
    ],
)  # fmt: skip
def test_fields_out_of_range_are_refused(change: dict[str, Any]) -> None:
    """A header with a field out of range cannot be made."""
    with pytest.raises(InvalidRecord):
        dataclasses.replace(HEADER, **change)


@pytest.mark.parametrize("position", range(13))
def test_mistyped_fields_are_refused(position: int) -> None:
    """A field of another type is malformed, whichever field it is."""
    fields = cbor.decode(HEADER.encode())
    assert isinstance(fields, list)
    fields[position] = {1: 1}
    with pytest.raises(MalformedData):
        decode_header(cbor.encode(fields))


def test_oversize_headers_are_refused() -> None:
    """A header longer than the limit is not parsed."""
    with pytest.raises(MalformedData, match="at most"):
        decode_header(b"\x00" * (MAX_HEADER_BYTES + 1))


def test_scope_is_the_request_or_the_record() -> None:
    """Outside a request, a record has a key of its own."""
    assert HEADER.scope == REQUEST
    assert dataclasses.replace(HEADER, request=None).scope == RECORD


def test_record_ids_are_version_7() -> None:
    """A record id carries its milliseconds, version and variant, and no two are alike."""
    made = [uuid7(1_795_000_000_123_456) for _ in range(200)]
    assert {(each.version, each.variant) for each in made} == {(7, UUID(int=1 << 63).variant)}
    assert {each.int >> 80 for each in made} == {1_795_000_000_123}
    assert len(set(made)) == 200
    assert uuid7().version == 7
