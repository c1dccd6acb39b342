"""A page about one approval: each signature with printed name, time and meaning (21 CFR 11.50), and what was signed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
from audit.export.approvals import Approval
from audit.export.page import Element, document, facts, table, tag
from audit.export.plain import stamp
from audit.header import Header

_GLASS = "This answer was let go on one person's word. Another person has to have looked at that; see below."


def page(told: Approval, origin: str) -> bytes:
    """The page, as UTF-8."""
    title = f"Approval of generation {told.request}"
    return document(
        title,
        tag("h1", title),
        tag("p", "This page is a copy for reading and proves nothing by itself: verify the bundle.", role="warning"),
        *([tag("p", _GLASS, role="warning")] if told.broke_glass else []),
        tag("h2", "Signatures"),
        table(
            ("seq", "cycle", "printed name", "user", "time", "meaning", "decision", "method", "for", "reason"),
            _signatures(told),
        ),
        tag("h2", "What was signed"),
        *(tag("div", *_cycle(header, body)) for header, body in told.of(ApprovalOpened)),
        tag("h2", "What else happened"),
        table(("seq", "time", "who", "what", "why"), _others(told)),
        tag("p", f"Log {origin}; {told.unread} steps could not be read, {told.unlisted} are not listed."),
    )


def _signatures(told: Approval) -> Iterator[Iterable[object]]:
    for header, body in told.of(ApprovalDecided):
        reason = f"{body.reason_code}: {body.reason}" if body.reason_code else body.reason
        yield (
            header.seq, body.cycle, body.display_name, body.person, stamp(header.ts), body.meaning, body.decision, body.method,
            body.on_behalf_of or "", reason,
        )  # fmt: skip


def _cycle(header: Header, body: ApprovalOpened) -> Iterator[Element]:
    needs = ", ".join(f"{needed.quorum} for {needed.approval} ({', '.join(needed.because)})" for needed in body.needed)
    yield facts(
        (
            ("cycle", body.cycle), ("begun", stamp(header.ts)), ("SHA-256 of the content", body.content_sha256.hex()),
            ("needed", needs), ("asked by", body.requester), ("contributors", ", ".join(body.contributors)),
            ("policy", body.policy_digest.hex()), ("weights", body.weights_digest.hex()),
            ("drafts", f"records {body.first_seq} to {body.last_seq}, root {body.draft_root.hex()}"),
            ("expires", f"{stamp(body.expires_at)}, then {body.on_expire}"), ("binding", body.binding.hex()),
        )
    )  # fmt: skip
    if body.content is not None:
        yield tag("pre", body.content)


def _others(told: Approval) -> Iterator[Iterable[object]]:
    for header, body in told.steps:
        match body:
            case ApprovalRevoked():
                what, why = "took the decision back", body.reason
            case ApprovalVoided():
                what, why = f"cycle {body.cycle} void: {body.why}", body.reason
            case ResultAttached():
                what, why = f"test {body.name}: {'passed' if body.passed else 'failed'}", body.detail
            case ApprovalEnded():
                cited = ", ".join(map(str, body.decisions))
                what, why = f"{body.outcome}, {body.why}", f"by records {cited}" if cited else ""
            case ApprovedDelivery():
                what, why = f"{body.bytes_released} bytes to request {body.request}", body.sha256_released.hex()
            case AfterRelease():
                what, why = body.act, body.reason
            case _:
                continue
        yield header.seq, stamp(header.ts), header.actor, what, why
