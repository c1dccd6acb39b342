"""The approvals of a log as documents about single ones hear them: every step that people and the gateway took, in order.

An approval may go on as long as the log does, so it is told at the end of the pass. Memory grows with held answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar
from uuid import UUID

from audit.approvals import (
    AfterRelease,
    ApprovalDecided,
    ApprovalEnded,
    ApprovalOpened,
    ApprovalRevoked,
    ApprovalVoided,
    ApprovedDelivery,
    ResultAttached,
)
from audit.export.opened import Opened
from audit.header import Header
from audit.held import CASE_KINDS

MOST_STEPS = 500
Step: TypeAlias = (
    ApprovalOpened | ApprovalDecided | ApprovalRevoked | ApprovalVoided | ApprovalEnded | ApprovedDelivery | ResultAttached
    | AfterRelease
)  # fmt: skip
S = TypeVar("S")


@dataclass(slots=True)
class Approval:
    """One approval; beyond the limit only the number of further steps is kept."""

    request: UUID
    first: Header
    steps: list[tuple[Header, Step]] = field(default_factory=list)
    unread: int = 0
    unlisted: int = 0

    @property
    def name(self) -> str:
        """A file name without suffix, which sorts as the log does."""
        return f"{self.first.seq:012d}-{self.request}.approval"

    @property
    def broke_glass(self) -> bool:
        """Whether it was let go on one person's word."""
        return any(body.broke_glass for _, body in self.of(ApprovalEnded))

    def of(self, kind: type[S]) -> list[tuple[Header, S]]:
        """Its steps of one kind."""
        return [(header, body) for header, body in self.steps if isinstance(body, kind)]

    def add(self, opened: Opened) -> None:
        """Take in the next step."""
        if opened.body is None:
            self.unread += 1
        elif len(self.steps) == MOST_STEPS:
            self.unlisted += 1
        elif isinstance(opened.body, Step):
            self.steps.append((opened.header, opened.body))


class Approvals:
    """Those of a log whose beginning is disclosed, fed in order of seq."""

    def __init__(self) -> None:
        self._known: dict[UUID, Approval] = {}

    def add(self, opened: Opened) -> None:
        """Take in a record; most have nothing to do with an approval."""
        header = opened.header
        if header.request is None or header.kind not in CASE_KINDS:
            return
        if header.request not in self._known and isinstance(opened.body, ApprovalOpened):
            self._known[header.request] = Approval(header.request, header)
        if header.request in self._known:
            self._known[header.request].add(opened)

    def all(self) -> Iterator[Approval]:
        """Every one, oldest first."""
        yield from self._known.values()
