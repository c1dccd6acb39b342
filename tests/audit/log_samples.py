"""Small batches for tests of the store: real headers over bodies of a few bytes."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from audit.header import Header, leaf_hash, uuid7
from audit.rows import Numbered

TENANT = "acme"


def numbered(
    seq: int, *, tenant: str = TENANT, body: bytes = b"sealed", ts: int | None = None, kind: int = 8,
    request: UUID | None = None,
) -> Numbered:  # fmt: skip
    """One record at `seq`, well formed in every way."""
    header = Header(
        tenant=tenant,
        seq=seq,
        ts=time.time_ns() // 1000 if ts is None else ts,
        record=uuid7(),
        request=request,
        kind=kind,
        schema=1,
        actor="key-1",
        policy=None,
        key_id="2026-11-00",
        body_length=len(body),
        body_sha256=hashlib.sha256(body).digest(),
    )
    raw = header.encode()
    return Numbered(header.seq, header.ts, header.request, header.kind, raw, leaf_hash(raw), body)


def run_of(first: int, count: int, tenant: str = TENANT) -> Sequence[Numbered]:
    """`count` records from seq `first`."""
    return tuple(numbered(first + index, tenant=tenant, ts=1_000 + first + index) for index in range(count))


def forged(record: Numbered, **changes: Any) -> Numbered:
    """The record with one of its fields replaced and nothing else made to fit."""
    return replace(record, **changes)
