"""One held answer as a row: what its records come to, folded as approvals fold them, beside what its request tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from audit.approvals import ApprovalOpened
from audit.header import Header
from audit.records import Body
from gateway.approvals.files import case_of
from gateway.projections.folding import Means, Told, moment
from gateway.recall import Unreadable

Record = tuple[Header, Body | None]


def case_row(row: Told, records: Sequence[Record], means: Means) -> dict[str, Any] | None:
    """The columns of `ApprovalRow` by all records of a held answer; None where they cannot all be read."""
    try:
        case = case_of(row.tenant, row.id, records)
    except Unreadable:
        return None
    begun = [header for header, body in records if isinstance(body, ApprovalOpened)]
    hashed = None if case is None else means.text_hmac(begun[-1].key_id, case.content_sha256)
    if case is None or hashed is None:
        return None
    return {
        "generation": row.id,
        "tenant": row.tenant,
        "cycle": case.opened.cycle,
        "state": case.state.value,
        "opened_at": moment(begun[0].ts),
        "expires_at": moment(case.opened.expires_at),
        "ended_at": moment(case.ended_ts) if case.ended_ts else None,
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
