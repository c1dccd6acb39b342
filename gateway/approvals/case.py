"""A held answer and what has been decided about it, as its records tell it. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from audit.approvals import ApprovalDecided, ApprovalOpened


class State(StrEnum):
    """Where an approval stands; the last four are ends, `released` alone lets text leave."""

    PENDING = "pending"
    APPROVED = "approved"
    RELEASED = "released"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing can be decided any more."""
        return self not in (State.PENDING, State.APPROVED)


@dataclass(frozen=True, slots=True)
class Signature:
    """A decision that stands, and where it is in the log."""

    seq: int
    ts: int
    """Microseconds since 1970."""
    decided: ApprovalDecided


@dataclass(frozen=True, slots=True)
class Case:
    """One held answer. `signatures` are those of the current cycle that were not taken back, oldest first."""

    tenant: str
    generation: UUID
    state: State
    opened: ApprovalOpened
    signatures: tuple[Signature, ...]
    words: str
    """What the reviewer wrote to the client when it was rejected; else empty."""
    broke_glass: bool

    @property
    def content_sha256(self) -> bytes:
        """What a decision is about, and what may leave."""
        return self.opened.content_sha256
