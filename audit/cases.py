"""What must be true of a step of an approval, given the steps before it: each function yields what is not, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from audit.approvals import (
    ApprovalDecided,
    ApprovalEnded,
    ApprovalOpened,
    ApprovalVoided,
    ResultAttached,
    bound,
)
from audit.assent import breaks_glass, is_eligible, lacking, names_in, untested
from audit.delegations import GRACE
from audit.header import Header
from audit.powers import Powers


@dataclass(frozen=True, slots=True)
class Drafts:
    """What was held: the records before its verdict, their root, and what it was made and judged under. None: not disclosed."""

    first_seq: int
    last_seq: int
    root: bytes
    caller: str
    policy_digest: bytes | None = None
    weights_digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """A decision that stands, with its place and time (microseconds) in the log."""

    seq: int
    ts: int
    decided: ApprovalDecided


def opening_faults(
    tenant: str, generation: UUID, drafts: Drafts | None, before: tuple[ApprovalOpened, ApprovalVoided | None] | None,
    header: Header, body: ApprovalOpened,
) -> Iterator[str]:  # fmt: skip
    """Of a cycle that begins; `before` is the last one and why it is over, None where there is none."""
    if bound(tenant, generation, body).binding != body.binding:
        yield "its binding is not that of what it puts before people"
    if body.expires_at <= header.ts:
        yield "it expires before it begins"
    if drafts is not None:
        yield from _draft_faults(drafts, body)
    if before is not None:
        yield from _succession_faults(*before, body)
    elif body.cycle != 1:
        yield f"cycle {body.cycle} begins, and there was none before it"


def _draft_faults(drafts: Drafts, body: ApprovalOpened) -> Iterator[str]:
    if (body.first_seq, body.last_seq, body.draft_root) != (drafts.first_seq, drafts.last_seq, drafts.root):
        yield "its drafts are not the records that were made before the verdict"
    if body.requester != drafts.caller:
        yield f"it names {body.requester!r} as who asked, who was {drafts.caller!r}"
    if body.cycle == 1 and drafts.policy_digest not in (None, body.policy_digest):
        yield "it was opened under another policy than the answer was judged under"
    if body.cycle == 1 and drafts.weights_digest not in (None, body.weights_digest):
        yield "it names another model than the one that made the answer"


def _succession_faults(last: ApprovalOpened, voided: ApprovalVoided | None, body: ApprovalOpened) -> Iterator[str]:
    if voided is None or body.cycle != last.cycle + 1:
        yield f"cycle {body.cycle} begins, while cycle {last.cycle} {'is not over' if voided is None else 'was the last'}"
    if body.requester != last.requester or not set(last.contributors) <= set(body.contributors):
        yield "it forgets who asked or who contributed"
    if voided is None:
        return
    if voided.why == "edited":
        if body.content is None or voided.person not in body.contributors:
            yield "an edited answer needs its new content, and its editor among those who contributed"
    elif (body.content, body.content_sha256) != (last.content, last.content_sha256):
        yield "the content changed although nobody edited it"
    if (voided.why == "policy" and body.policy_digest == last.policy_digest) or (
        voided.why == "model" and body.weights_digest == last.weights_digest
    ):
        yield f"the cycle before was void for another {voided.why}, and it is the same"


def decision_faults(
    opened: ApprovalOpened, standing: Sequence[Signed], header: Header, body: ApprovalDecided, powers: Powers
) -> Iterator[str]:
    """Of a person's decision in the cycle that is open."""
    if header.ts >= opened.expires_at + GRACE:
        yield "it was decided after the approval had expired"
    if any(not names_in(each.decided).isdisjoint(names_in(body)) for each in standing):
        yield f"{body.person!r}, or whoever the decision is for, has decided already"
    if body.method == "break_glass":
        if not breaks_glass(opened, body):
            yield f"{body.person!r} could not break the glass"
    elif not any(is_eligible(opened, needed, body) for needed in opened.needed):
        yield f"{body.person!r} could not decide: involved in the answer, or without the role or a group"
    if body.on_behalf_of is not None and not powers.delegations.unread:
        times = (header.ts, header.ts - GRACE)
        if not any(powers.delegations.find(body.on_behalf_of, body.person, ts) for ts in times):
            yield f"{body.on_behalf_of!r} had not delegated to {body.person!r}"


def ending_faults(
    opened: ApprovalOpened, signed: Mapping[int, Signed], results: Sequence[ResultAttached], header: Header, body: ApprovalEnded
) -> Iterator[str]:
    """Of an end: it must follow from the decisions that it cites, from the clock, or from whoever cancelled."""
    if body.content_sha256 != opened.content_sha256:
        yield "it ends an approval of other content"
    unfounded = [seq for seq in body.decisions if seq not in signed]
    if unfounded or len(set(body.decisions)) != len(body.decisions):
        yield f"it cites records {unfounded or list(body.decisions)}, which are no decisions that stand, each once"
    cited = [signed[seq].decided for seq in dict.fromkeys(body.decisions) if seq in signed]
    expired = header.ts >= opened.expires_at
    match body.outcome, body.why:
        case "released", "approved":
            yield from _release_faults(opened, signed, cited, results, header, body)
        case "withheld", "rejected":
            if not any(each.decision == "reject" for each in cited):
                yield "nobody rejected it"
        case "withheld", "cancelled":
            pass
        case outcome, "expired" if (outcome == "released") is (opened.on_expire == "release"):
            if not expired:
                yield "it ended as expired before it had"
        case outcome, why:
            yield f"it was {outcome} because {why}, which its approvals do not allow"


def _release_faults(
    opened: ApprovalOpened, signed: Mapping[int, Signed], cited: Sequence[ApprovalDecided], results: Sequence[ResultAttached],
    header: Header, body: ApprovalEnded,
) -> Iterator[str]:  # fmt: skip
    if header.ts >= opened.expires_at + GRACE:
        yield "it was released as approved after the approval had expired"
    if any(each.decided.decision == "reject" for each in signed.values()):
        yield "it was released although a rejection stands"
    if body.broke_glass:
        if not any(breaks_glass(opened, each) for each in cited):
            yield "it was released by a broken glass, and no decision that it cites breaks one"
        return
    for needed in lacking(opened, cited):
        yield f"it was released without the {needed.quorum} persons that {needed.approval!r} needs"
    if untested(opened, results):
        yield "it was released without the test result that it needs"
