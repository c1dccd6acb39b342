"""One body of each kind of an approval, and the steps of one that tests put together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from audit.approvals import (
    AfterRelease,
    Approval,
    ApprovalDecided,
    ApprovalEnded,
    ApprovalOpened,
    ApprovalRevoked,
    ApprovalVoided,
    ApprovedDelivery,
    Attached,
    Delegation,
    Needed,
    ResultAttached,
    bound,
    content_digest,
)
from audit.records import Kind

GENERATION = UUID("0198c0de-0000-7000-8000-000000000001")
NOW = 1_795_000_000_000_000
TEXT = "def held(): ...\n"
LATER_TEXT = "def edited(): ...\n"
HOUR = 3_600_000_000
NEEDED = Needed(
    approval="two-people", because=("gate:sure",), groups=("leads",), quorum=2, separation_of_duties=True, edit_allowed=True,
    test_result_required=False,
)  # fmt: skip


def opened(generation: UUID = GENERATION, **change: Any) -> ApprovalOpened:
    """Cycle 1 of a request, bound to itself."""
    first = ApprovalOpened(
        cycle=1, content_sha256=content_digest(TEXT), content=None, first_seq=0, last_seq=7, draft_root=bytes(32),
        policy_digest=hashlib.sha256(b"policy").digest(),
        weights_digest=hashlib.sha256(b"weights").digest(), needed=(NEEDED,), expires_at=NOW + HOUR, on_expire="reject",
        requester="gateway", contributors=("linus",), binding=bytes(32),
    )  # fmt: skip
    return bound("acme", generation, replace(first, **change))


def decided(cycle: ApprovalOpened, person: str, **change: Any) -> ApprovalDecided:
    """An approval of this cycle by a lead."""
    signed = ApprovalDecided(
        cycle=cycle.cycle, binding=cycle.binding, decision="approve", person=person, display_name=person.title(),
        roles=("approver",), groups=("leads",), meaning="approval", method="password", evidence="", reason_code="", reason="",
        on_behalf_of=None, seconds_looked=31,
    )  # fmt: skip
    return replace(signed, **change)


def ended(cycle: ApprovalOpened, decisions: Sequence[int], records: int, **change: Any) -> ApprovalEnded:
    """A release of this cycle, by these decisions."""
    end = ApprovalEnded(
        cycle=cycle.cycle, outcome="released", why="approved", content_sha256=cycle.content_sha256, binding=cycle.binding,
        decisions=tuple(decisions), person=None, broke_glass=False, records=records,
    )  # fmt: skip
    return replace(end, **change)


def delivered(generation: UUID, text: str = TEXT) -> ApprovedDelivery:
    """The text went to the client that was held."""
    return ApprovedDelivery(generation, len(text.encode()), content_digest(text))


_FIRST = opened()
APPROVALS: dict[Kind, Approval] = {
    Kind.APPROVAL_OPENED: _FIRST,
    Kind.APPROVAL_DECIDED: decided(_FIRST, "ada", display_name="Ada Lovelace", reason="read it twice"),
    Kind.APPROVAL_REVOKED: ApprovalRevoked(1, _FIRST.binding, "ada", "on second thoughts"),
    Kind.APPROVAL_VOIDED: ApprovalVoided(1, "edited", "grace", "off by one"),
    Kind.APPROVAL_ENDED: ended(_FIRST, (12, 13), 4),
    Kind.APPROVED_DELIVERY: delivered(GENERATION),
    Kind.ATTACHED: Attached(GENERATION, "openai.chat"),
    Kind.DELEGATION: Delegation(GENERATION, "ada", "grace", ("leads",), NOW, NOW + HOUR, "on leave", revoked=False),
    Kind.RESULT_ATTACHED: ResultAttached(1, _FIRST.binding, "ci", "unit tests", True, "12 passed"),
    Kind.AFTER_RELEASE: AfterRelease("recall", "grace", "the customer was another"),
}
