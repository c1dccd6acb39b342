"""What goes to the tables of the log and comes from them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from audit.header import LeafHash


@dataclass(frozen=True, slots=True)
class Numbered:
    """One record in its final form: its place, what a query asks for, the header's bytes and leaf hash, and the sealed body."""

    seq: int
    ts: int
    request: UUID | None
    kind: int
    raw: bytes
    leaf: LeafHash
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a batch lies, and the head of the log after the append."""

    first_seq: int
    count: int
    next_seq: int
    last_ts: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """What rebuilding a tree needs of one record."""

    seq: int
    ts: int
    leaf: LeafHash


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A request that was opened and never closed, and the seq of its newest record."""

    request: UUID
    last_seq: int
