"""What a person may do to a held answer, and the answers: values only. A refusal is a value too."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from gateway.approvals.case import Case

Meaning: TypeAlias = Literal["review", "approval", "responsibility", "authorship"]
"""What a signature says (21 CFR 11.50)."""
Code: TypeAlias = Literal[
    "unknown", "stale_content", "stale_binding", "not_pending", "excluded", "not_permitted", "already_decided",
    "test_required", "ended",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Approve:
    """Let it go, as far as one person can. `on_behalf_of` names who delegated the right to decide."""

    content_sha256: bytes
    meaning: Meaning = "approval"
    reason: str = ""
    on_behalf_of: str | None = None
    seconds_looked: int = 0
    binding: bytes | None = None
    """Which cycle was looked at; None for whichever has this content."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Keep it, for good. The reason is told to the client in the reviewer's words; the code is for statistics."""

    content_sha256: bytes
    reason_code: str
    reason: str = ""
    meaning: Meaning = "review"
    on_behalf_of: str | None = None
    seconds_looked: int = 0
    binding: bytes | None = None


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """Let it go at once, on one person's word; flagged for ever, and to be reviewed by another afterwards."""

    content_sha256: bytes
    reason: str
    meaning: Meaning = "responsibility"
    seconds_looked: int = 0
    binding: bytes | None = None

    @property
    def on_behalf_of(self) -> None:
        """Nobody's right to break the glass is delegated."""


Choice: TypeAlias = Approve | Reject | BreakGlass


@dataclass(frozen=True, slots=True)
class TestResult:
    """What a test found of the content."""

    __test__ = False  # or pytest would take it for a test of ours

    content_sha256: bytes
    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Delegate:
    """The right to decide, lent to a person for a time; of these groups, or of all where none is named."""

    to: str
    starts_at: datetime
    ends_at: datetime
    reason: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotDecided:
    """Nothing was recorded but, where it says so, that a cycle was void or an approval had expired."""

    code: Code
    message: str


@dataclass(frozen=True, slots=True)
class Cleared:
    """The very text that was approved, whose release is on record; made by `Approvals.release` alone."""

    case: Case
    text: str
    request: UUID
    """Whose client gets it."""
    last_seq: int
    """The record of this delivery."""


@dataclass(frozen=True, slots=True)
class NotReleased:
    """No text leaves; `case` says how the approval stands, None where there is none."""

    case: Case | None
    message: str
