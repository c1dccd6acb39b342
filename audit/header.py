"""The header of a record: the Merkle leaf, a deterministic CBOR array that commits to the sealed body.

Its raw bytes are what is stored, hashed and exported; every database column beside them is a copy. The order
and meaning of the thirteen fields never change under version 1. Nothing here is a hash of plaintext.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import NewType
from uuid import UUID

from audit import cbor
from audit.errors import InvalidRecord, MalformedData

LeafHash = NewType("LeafHash", bytes)
"""SHA-256(0x00 || header bytes); only `leaf_hash` makes one."""

VERSION = 1
ID_BYTES = 10
"""Random bytes that go into a record's id."""
MAX_HEADER_BYTES = 4096
MAX_SEALED_BYTES = cbor.MAX_BYTES + 28
_START = cbor.head(4, 13) + cbor.head(0, VERSION)
_NULL = cbor.encode(None)
_TENANT = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Blank:
    """A header's bytes before and after its place."""

    head: bytes
    tail: bytes

    def at(self, seq: int, ts: int) -> bytes:
        """The header's bytes at this place; both numbers are from 0 below 2^63."""
        return b"".join((self.head, cbor.head(0, seq), cbor.head(0, ts), self.tail))


@dataclass(frozen=True, slots=True)
class Header:
    """One record's place and commitment. Raises InvalidRecord when a field is out of range."""

    tenant: str
    seq: int
    """Dense from 0 within the tenant."""
    ts: int
    """Microseconds since 1970-01-01 UTC; never smaller than the record before."""
    record: UUID
    request: UUID | None
    kind: int
    schema: int
    """Version of the body's schema, per kind, from 1."""
    actor: str
    policy: bytes | None
    key_id: str
    body_length: int
    body_sha256: bytes
    """Over the sealed body (nonce and ciphertext), never over plaintext."""

    def __post_init__(self) -> None:
        framed(self.tenant, self.actor, self.policy, self.key_id)
        for number in (self.seq, self.ts, self.kind, self.schema, self.body_length):
            if not _is_count(number):
                raise InvalidRecord(f"a number of a header is an integer from 0 below 2^63, not {number!r}")
        if self.kind < 1 or self.schema < 1 or self.body_length > MAX_SEALED_BYTES:
            raise InvalidRecord("header kind or schema is 0, or the body is too long")
        if len(self.body_sha256) != 32:
            raise InvalidRecord("header digests have 32 bytes")
        if self.record.version != 7:
            raise InvalidRecord("a record id is a UUID of version 7; make it with uuid7()")

    def encode(self) -> bytes:
        """The stored bytes."""
        return self.blank().at(self.seq, self.ts)

    def blank(self) -> Blank:
        """The bytes around seq and time."""
        names = framed(self.tenant, self.actor, self.policy, self.key_id)
        return blank(names, self.record, self.request, self.kind, self.schema, self.body_length, self.body_sha256)

    @property
    def scope(self) -> UUID:
        """What the body key is derived for: the request, or the record itself outside any request."""
        return self.record if self.request is None else self.request


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A row as stored: raw header bytes and the sealed body, None when the body is no longer there."""

    header: bytes
    body: bytes | None


def blank(
    names: tuple[bytes, bytes], record: UUID, request: UUID | None, kind: int, schema: int, length: int, digest: bytes
) -> Blank:
    """The bytes around seq and time, so that a record can be numbered again without writing the rest again.

    Asks nothing: `names` are checked by `framed`, and everything else is as `Header` would take it.
    """
    asked = _NULL if request is None else cbor.octets(request.bytes)
    start, rest = names
    parts = (
        cbor.octets(record.bytes), asked, cbor.head(0, kind), cbor.head(0, schema), rest,
        cbor.head(0, length), cbor.octets(digest),
    )  # fmt: skip
    return Blank(start, b"".join(parts))


@lru_cache(1024)
def framed(tenant: str, actor: str, policy: bytes | None, key_id: str) -> tuple[bytes, bytes]:
    """What many records have in common, checked and written once: the bytes before the place, and from actor to key id.

    Raises InvalidRecord when one of the four is out of range.
    """
    check_tenant(tenant)
    if not _is_text(actor, 256) or not _is_text(key_id, 128):
        raise InvalidRecord("header actor has 1 to 256 bytes, key id 1 to 128; both are UTF-8 without NUL")
    if policy is not None and len(policy) != 32:
        raise InvalidRecord("header digests have 32 bytes")
    digest = _NULL if policy is None else cbor.octets(policy)
    return _START + cbor.words(tenant), b"".join((cbor.words(actor), digest, cbor.words(key_id)))


def _is_count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 1 << 63


def _is_text(value: str, most: int) -> bool:
    """Whether a text column can hold it: PostgreSQL takes neither NUL nor a lone surrogate."""
    try:
        return 0 < len(value.encode()) <= most and "\0" not in value
    except UnicodeEncodeError:
        return False


def check_tenant(tenant: str) -> None:
    """Raise InvalidRecord unless the name is 1 to 63 of a-z, 0-9, dot, dash, underscore."""
    if not _TENANT.fullmatch(tenant):
        raise InvalidRecord(f"tenant {tenant!r}: use 1 to 63 of a-z 0-9 . _ - from a letter or digit on")


def decode_header(data: bytes) -> Header:
    """Parse stored header bytes; raises MalformedData for what `Header.encode` would not write."""
    fields = cbor.decode(data, MAX_HEADER_BYTES)
    if not isinstance(fields, list) or len(fields) != 13 or type(fields[0]) is not int:
        raise MalformedData("a header is an array of 13 fields that starts with its version")
    if fields[0] != VERSION:
        raise MalformedData(f"header version {fields[0]} is unknown here; use a newer verifier")
    try:
        return _from_fields(fields)
    except InvalidRecord as error:
        raise MalformedData(str(error)) from error


def _from_fields(fields: list[cbor.Value]) -> Header:
    _, tenant, seq, ts, record, request, kind, schema, actor, policy, key_id, length, digest = fields
    texts, numbers = (tenant, actor, key_id), (seq, ts, kind, schema, length)
    if not all(isinstance(text, str) for text in texts) or not all(type(number) is int for number in numbers):
        raise MalformedData("a header field has the wrong type")
    if not isinstance(digest, bytes) or not (policy is None or isinstance(policy, bytes)):
        raise MalformedData("a header digest is not a byte string")
    request_id = None if request is None else _uuid(request)
    return Header(
        tenant=str(tenant), seq=_uint(seq), ts=_uint(ts), record=_uuid(record), request=request_id,
        kind=_uint(kind), schema=_uint(schema), actor=str(actor), policy=policy, key_id=str(key_id),
        body_length=_uint(length), body_sha256=digest,
    )  # fmt: skip


def _uint(value: cbor.Value) -> int:
    if type(value) is not int:
        raise MalformedData("a header number is not an integer")
    return value


def _uuid(value: cbor.Value) -> UUID:
    if not isinstance(value, bytes) or len(value) != 16:
        raise MalformedData("an id in a header has 16 bytes")
    return UUID(bytes=value)


def leaf_hash(header: bytes) -> LeafHash:
    """The RFC 6962 leaf hash of stored header bytes."""
    return LeafHash(hashlib.sha256(b"\x00" + header).digest())


def uuid7(microseconds: int | None = None, random: bytes | None = None) -> UUID:
    """A fresh UUID of version 7 (RFC 9562): 48 bits of milliseconds, then 74 of 80 random bits."""
    millis = time.time_ns() // 1_000_000 if microseconds is None else microseconds // 1000
    tail = int.from_bytes(os.urandom(ID_BYTES) if random is None else random, "big")
    high = (millis & (1 << 48) - 1) << 16 | 0x7000 | (tail >> 64) & 0x0FFF
    return UUID(int=high << 64 | 0b10 << 62 | tail & (1 << 62) - 1)
