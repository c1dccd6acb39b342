"""What other systems are told of an approval: that it began, that somebody decided, that it is over.."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any, Final

from audit.approvals import ApprovalDecided, ApprovalEnded, ApprovalOpened
from audit.header import Header
from audit.records import Body, Kind

TOLD: Final = (Kind.APPROVAL_OPENED, Kind.APPROVAL_DECIDED, Kind.APPROVAL_ENDED)


def payload(header: Header, body: Body | None) -> bytes | None:
    """The event of a record as JSON; None for a record that tells nothing, or that can no longer be read."""
    match body:
        case ApprovalOpened():
            kind, said = "approval.opened", _opened(body)
        case ApprovalDecided():
            kind, said = "approval.decided", _decided(body)
        case ApprovalEnded():
            kind, said = "approval.ended", {"outcome": body.outcome, "why": body.why, "broke_glass": body.broke_glass}
        case _:
            return None
    place = {"tenant": header.tenant, "generation": str(header.request), "seq": header.seq, "cycle": body.cycle}
    told = {"type": kind, "timestamp": stamp(header.ts), "data": place | said}
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()


def identity_of(header: Header) -> str:
    """What tells repetitions of one event: a receiver keeps it to act once."""
    return f"{header.tenant}.{header.seq}"


def signed(identity: str, seconds: int, body: bytes, secret: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks: HMAC-SHA256 over id, time (seconds since 1970) and body, each set off by a dot."""
    digest = hmac.new(secret, f"{identity}.{seconds}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": identity,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _opened(body: ApprovalOpened) -> dict[str, Any]:
    return {
        "requester": body.requester,
        "approvals": [needed.approval for needed in body.needed],
        "groups": sorted({group for needed in body.needed for group in needed.groups}),
        "expires_at": stamp(body.expires_at),
        "on_expire": body.on_expire,
    }


def _decided(body: ApprovalDecided) -> dict[str, Any]:
    return {"decision": body.decision, "person": body.person, "on_behalf_of": body.on_behalf_of, "method": body.method}


def stamp(ts: int) -> str:
    """RFC 3339 of microseconds since 1970, to the second."""
    return datetime.fromtimestamp(ts // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
