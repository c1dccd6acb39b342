"""A held answer and what has been decided about it, as its records tell it. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from audit.approvals import AfterRelease, ApprovalDecided, ApprovalEnded, ApprovalOpened, Needed, ResultAttached


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
    lacking: tuple[Needed, ...] = ()
    """Obligations of which the quorum is not met yet."""
    results: tuple[ResultAttached, ...] = ()
    """Test results of the current cycle, oldest first."""
    ended: ApprovalEnded | None = None
    ended_ts: int = 0
    """Microseconds since 1970; 0 while nothing has ended."""
    after: tuple[AfterRelease, ...] = ()
    records: int = 0
    """Records of the approval so far, those after its end included."""
    last_seq: int = 0
    log_ts: int = 0
    """Microseconds since 1970 of the newest record of the whole log when this was read: no later one will be older."""
    asserted: frozenset[bytes] = frozenset()
    """What passkeys have signed here, as `Assertion.statement` has it."""

    @property
    def content_sha256(self) -> bytes:
        """What a decision is about, and what may leave."""
        return self.opened.content_sha256

    @property
    def recalled(self) -> bool:
        """Whether somebody said, after it had left, that it should not have."""
        return any(each.act == "recall" for each in self.after)

    @property
    def review_due(self) -> bool:
        """Whether its broken glass still has to be looked at by another person."""
        return self.broke_glass and self.state is State.RELEASED and not any(each.act == "review" for each in self.after)
