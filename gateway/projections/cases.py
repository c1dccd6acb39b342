"""One held answer as a row: what its records come to, folded by the approvals themselves, beside what its request tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from audit.approvals import ApprovalDecided, ApprovalEnded, ApprovalOpened, ApprovalRevoked, Needed, ResultAttached
from audit.header import Header
from audit.records import Body, Kind
from gateway.approvals.case import Case, Signature, State
from gateway.projections.told import Means, Told, moment

CASE_KINDS: Final = frozenset(
    (
        Kind.APPROVAL_OPENED, Kind.APPROVAL_DECIDED, Kind.APPROVAL_REVOKED, Kind.APPROVAL_VOIDED, Kind.APPROVAL_ENDED,
        Kind.APPROVED_DELIVERY, Kind.RESULT_ATTACHED, Kind.AFTER_RELEASE,
    )
)  # fmt: skip
"""Records of a held answer that stand in its request."""
Record = tuple[Header, Body | None]
_WITHHELD: Final = {"rejected": State.REJECTED, "expired": State.EXPIRED, "cancelled": State.CANCELLED}


def case_row(row: Told, records: Sequence[Record], means: Means) -> dict[str, Any] | None:
    """The columns of `ApprovalRow` by all records of a held answer; None where they cannot all be read."""
    case = case_of(row, records)
    if case is None:
        return None
    begun = [header for header, body in records if isinstance(body, ApprovalOpened)]
    ended = [header.ts for header, body in records if isinstance(body, ApprovalEnded)]
    hashed = means.text_hmac(begun[-1].key_id, case.content_sha256)
    if hashed is None:
        return None
    return {
        "generation": row.id,
        "tenant": row.tenant,
        "cycle": case.opened.cycle,
        "state": case.state.value,
        "opened_at": moment(begun[0].ts),
        "expires_at": moment(case.opened.expires_at),
        "ended_at": moment(ended[-1]) if ended else None,
        "requester": case.opened.requester,
        "contributors": list(case.opened.contributors),
        "workflow": row.workflow,
        "mode": row.mode,
        "risk": row.risk,
        "content_sha256_hmac": hashed,
        "policy_digest": case.opened.policy_digest,
        "needed": [asdict(each) for each in case.opened.needed],
        "decided_by": [signature.decided.person for signature in case.signatures],
        "broke_glass": case.broke_glass,
        "last_seq": records[-1][0].seq,
    }


def case_of(row: Told, records: Sequence[Record]) -> Case | None:
    """Where an approval stands after these records, None before it begins or where one cannot be read."""
    opened: ApprovalOpened | None = None
    ended: ApprovalEnded | None = None
    signatures: list[Signature] = []
    passed = False
    for header, body in records:
        match body:
            case None:
                return None
            case ApprovalOpened():
                opened, signatures, passed = body, [], False
            case ApprovalDecided():
                signatures.append(Signature(header.seq, header.ts, body))
            case ApprovalRevoked():
                signatures = [each for each in signatures if each.decided.person != body.person]
            case ResultAttached():
                passed = passed or body.passed
            case ApprovalEnded():
                ended = body
            case _:
                pass
    if opened is None:
        return None
    broke = any(each.decided.method == "break_glass" for each in signatures) or (ended is not None and ended.broke_glass)
    words = next((each.decided.reason for each in signatures if each.decided.decision == "reject"), "")
    state = _state(opened, signatures, ended, passed=passed)
    return Case(row.tenant, row.id, state, opened, tuple(signatures), words, broke)


def _state(opened: ApprovalOpened, signatures: Sequence[Signature], ended: ApprovalEnded | None, *, passed: bool) -> State:
    if ended is not None:
        return State.RELEASED if ended.outcome == "released" else _WITHHELD[ended.why]
    if any(each.decided.method == "break_glass" for each in signatures):
        return State.APPROVED
    rejected = any(each.decided.decision == "reject" for each in signatures)
    met = all(_met(need, signatures) and (passed or not need.test_result_required) for need in opened.needed)
    return State.APPROVED if met and not rejected else State.PENDING


def _met(need: Needed, signatures: Sequence[Signature]) -> bool:
    counted = {
        each.decided.person
        for each in signatures
        if each.decided.decision == "approve" and (not need.groups or set(need.groups) & set(each.decided.groups))
    }
    return len(counted) >= need.quorum
