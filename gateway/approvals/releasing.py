"""How approved text leaves: all that the approval was bound to is looked at again, and the release is on record first."""

from __future__ import annotations

import asyncio
from uuid import UUID

from audit.approvals import ApprovalEnded, ApprovedDelivery, bound
from audit.assent import lacking, untested
from gateway.approvals.case import Case, State
from gateway.approvals.choices import Cleared, NotReleased
from gateway.approvals.desk import ACTOR, Desk, Taken
from gateway.recall import Unreadable


async def release(desk: Desk, tenant: str, generation: UUID, request: UUID) -> Cleared | NotReleased:
    """Record that the text leaves for the client of `request`, and only then return it; or say why it stays.

    Policy, model and expiry were looked at when the answer was taken; quorum, binding and content are looked at here.
    """
    async with desk.taken(tenant, generation) as taken:
        if taken is None:
            return NotReleased(None, "there is no such approval")
        case = taken.case
        if case.state not in (State.APPROVED, State.RELEASED):
            return NotReleased(case, f"this answer is {case.state}")
        if case.recalled:
            return NotReleased(case, "this answer was recalled after its release")
        text = await asyncio.to_thread(desk.files.content, case)
        _require_bound(case)
        delivery = ApprovedDelivery(request, len(text.encode()), case.content_sha256)
        if case.state is State.RELEASED:
            return await _cleared(desk, taken, text, delivery)
        _require_quorum(case)
        cited = [each.seq for each in case.signatures if each.decided.decision == "approve"]
        return await _cleared(desk, taken, text, delivery, desk.ending(case, "released", "approved", cited))


async def _cleared(desk: Desk, taken: Taken, text: str, delivery: ApprovedDelivery, *ended: ApprovalEnded) -> Cleared:
    case = await desk.record(taken, ACTOR, *ended, delivery)
    return Cleared(case, text, delivery.request, case.last_seq)


def _require_bound(case: Case) -> None:
    """The cycle says what it said when people decided."""
    if bound(case.tenant, case.generation, case.opened).binding != case.opened.binding:
        raise Unreadable("what was approved is not what the approval is bound to; run `palimpsest audit verify`")


def _require_quorum(case: Case) -> None:
    decisions = [each.decided for each in case.signatures]
    if not case.broke_glass and (lacking(case.opened, decisions) or untested(case.opened, case.results)):
        raise AssertionError("an approved case has its quorum")
