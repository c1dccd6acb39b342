"""The service: every act on a held answer, recorded before it counts.

    case = await approvals.find("acme", generation)
    answer = await approvals.decide("acme", generation, Approve(case.content_sha256), person)
    given = await approvals.release("acme", generation, request)        # Cleared, or why not

Each act takes the answer's turn (`turns.py`), folds its records again (`files.py`), asks the rules (`rules.py`) and appends.
What is left if the process dies: before the append nothing, after it the record, which is all that an act is. A `Person` is
somebody who has just given a password, a `Signer` that or one whose passkey signed this very cycle. Methods raise GatewayError
when log, database or policy cannot be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from audit.acts import identity
from audit.approvals import AfterRelease, ApprovalRevoked, ApprovalVoided, Delegation, ResultAttached
from audit.keys import KeyStore
from gateway.appending import Log
from gateway.approvals import releasing, rules
from gateway.approvals.case import Case
from gateway.approvals.choices import Choice, Cleared, Delegate, NotDecided, NotReleased, TestResult
from gateway.approvals.desk import Desk, Look, Served, Taken
from gateway.approvals.expiry import Expiry
from gateway.approvals.files import Files
from gateway.approvals.lending import Lending
from gateway.approvals.rules import Authority
from gateway.approvals.terms import Rewritten
from gateway.approvals.turns import Turns
from gateway.authenticate import Subject
from gateway.database import Urls
from gateway.law.lawbook import Lawbook
from gateway.people.names import Role
from gateway.people.person import Person, Signer, person_of

UNKNOWN: Final = NotDecided("unknown", "there is no such approval")


async def no_projections(_: str) -> None:
    """Nothing is brought anywhere: whoever follows the log by the clock finds what was recorded."""


class Approvals:
    """All approvals of this process. Belongs to the writer's event loop."""

    def __init__(
        self, log: Log, urls: Urls, keys: KeyStore, laws: Lawbook, served: Served, look: Look = no_projections
    ) -> None:  # fmt: skip
        """`look(tenant)` is awaited after every append, so that whoever asks next finds it in the projections."""
        self._files = Files(urls.reader, keys, served.decode)
        self._desk = Desk(log, self._files, Turns(urls.app), laws, served, look)
        self._lending = Lending(self._desk, urls.app)
        self._expiry = Expiry(self._desk, urls.app)

    async def find(self, tenant: str, generation: UUID) -> Case | None:
        """How an approval stands; None where there is none."""
        return await self._desk.find(tenant, generation)

    async def current(self, tenant: str, generation: UUID) -> Case | None:
        """The same, once what is void or over is on record as such: for whoever is about to look at it.

        Another model voids nothing before somebody acts: to look with another one loaded changes nothing of what is served.
        """
        case = await self._desk.find(tenant, generation)
        if case is None or self._desk.settled(case, acting=False):
            return case
        async with self._desk.taken(tenant, generation, acting=False) as taken:
            return None if taken is None else taken.case

    async def text(self, case: Case) -> str:
        """The exact content of the current cycle, its hash checked. Raises Unreadable."""
        return await asyncio.to_thread(self._files.content, case)

    async def decide(self, tenant: str, generation: UUID, choice: Choice, by: Signer) -> Case | NotDecided:
        """Sign, in one's own right or a lent one. A rejection ends the approval."""
        person = person_of(by)

        async def act(taken: Taken) -> Case | NotDecided:
            case = taken.case
            refusal = rules.undecidable(case, choice.content_sha256, person, choice.binding) or rules.unsaid(choice)
            refusal = refusal or rules.unsigned(case, choice, by)
            if refusal is not None:
                return refusal
            authority = await self._authority(case, choice, person)
            if isinstance(authority, NotDecided):
                return authority
            decided = rules.signature(case, choice, by, authority)
            if (refusal := rules.objection(case, choice, decided) or rules.beyond_loan(case, authority)) is not None:
                return refusal
            signed = Taken(taken.turn, await self._desk.record(taken, person.on_record, decided))
            return (await self._desk.up_to_date(signed)).case

        if choice.on_behalf_of is None:
            return await self._acting(tenant, generation, act)
        async with self._desk.turns.of(f"{tenant}/delegations"):
            return await self._acting(tenant, generation, act)

    async def edit(
        self, tenant: str, generation: UUID, text: str, reason: str, by: Person, content_sha256: bytes
    ) -> Case | NotDecided:
        """Put another text in the place of the answer: a new cycle, of which the editor cannot approve."""

        async def act(taken: Taken) -> Case | NotDecided:
            case = taken.case
            refusal = rules.undecidable(case, content_sha256, by) or rules.may_edit(case, text, by)
            refusal = refusal or rules.overlong(reason)
            if refusal is not None:
                return refusal
            void = ApprovalVoided(case.opened.cycle, "edited", by.on_record, reason.strip())
            return await self._desk.record(
                taken, by.on_record, void, self._desk.next_cycle(case, Rewritten(text, by.on_record))
            )  # fmt: skip

        return await self._acting(tenant, generation, act)

    async def revoke(self, tenant: str, generation: UUID, reason: str, by: Person) -> Case | NotDecided:
        """Take an own decision back, until the end."""

        async def act(taken: Taken) -> Case | NotDecided:
            case = taken.case
            if (refusal := rules.undecidable(case, case.content_sha256, by) or rules.unspoken(reason)) is not None:
                return refusal
            if all(identity(each.decided.person) != identity(by.on_record) for each in case.signatures):
                return NotDecided("not_pending", "you have no decision here that could be taken back")
            revoked = ApprovalRevoked(case.opened.cycle, case.opened.binding, by.on_record, reason.strip())
            return await self._desk.record(taken, by.on_record, revoked)

        return await self._acting(tenant, generation, act)

    async def cancel(self, tenant: str, generation: UUID, by: Person | Subject) -> Case | NotDecided:
        """Give the answer up: by whoever asked for it, or by an approver or operator."""

        async def act(taken: Taken) -> Case | NotDecided:
            case = taken.case
            if isinstance(by, Subject):
                allowed, who = by.tenant == tenant and by.caller == case.opened.requester, by.caller
            else:
                duty = not by.roles.isdisjoint((Role.APPROVER, Role.OPERATOR))
                allowed, who = by.serves(tenant) and (duty or identity(by.on_record) in case.opened.involved), by.on_record
            if not allowed:
                return UNKNOWN
            if case.state.ended:
                return NotDecided("ended", f"this answer was {case.state} already")
            return await self._desk.record(taken, who, self._desk.ending(case, "withheld", "cancelled", by=who))

        return await self._acting(tenant, generation, act)

    async def attach_result(self, tenant: str, generation: UUID, result: TestResult, by: Person) -> Case | NotDecided:
        """Put a test result beside the content that it is about; of those of one name the last counts."""

        async def act(taken: Taken) -> Case | NotDecided:
            case = taken.case
            refusal = rules.undecidable(case, result.content_sha256, by) or rules.may_attach(case, by)
            refusal = refusal or rules.untold(result)
            if refusal is not None:
                return refusal
            attached = ResultAttached(
                case.opened.cycle, case.opened.binding, by.on_record, result.name.strip(), result.passed, result.detail
            )
            return await self._desk.record(taken, by.on_record, attached)

        return await self._acting(tenant, generation, act)

    async def after_release(self, tenant: str, generation: UUID, act: str, reason: str, by: Person) -> Case | NotDecided:
        """`recall` an answer that should not have left, or `review` a broken glass."""

        async def look_back(taken: Taken) -> Case | NotDecided:
            if not by.serves(tenant):
                return UNKNOWN
            if (refusal := rules.may_look_back(taken.case, act, by) or rules.unspoken(reason)) is not None:
                return refusal
            return await self._desk.record(taken, by.on_record, AfterRelease(act, by.on_record, reason.strip()))

        return await self._acting(tenant, generation, look_back)

    async def delegate(self, tenant: str, lent: Delegate, by: Person) -> Delegation | NotDecided:
        """Lend the right to decide to another user of the tenant, for a time. What was lent cannot be lent on."""
        return await self._lending.lend(tenant, lent, by)

    async def end_delegation(self, tenant: str, delegation: UUID, by: Person) -> Delegation | NotDecided:
        """End an own delegation before its time."""
        return await self._lending.end(tenant, delegation, by)

    async def delegations(self, tenant: str) -> tuple[Delegation, ...]:
        """All delegations of a tenant, oldest first; those that are over are among them."""
        return await self._lending.all(tenant)

    async def settled(self, tenant: str, generation: UUID, patience_seconds: float) -> Case:
        """How it stands once it is approved or over, or after so many seconds. Raises NotHere where there is none."""
        return await self._desk.watch.settled(tenant, generation, patience_seconds)

    async def release(self, tenant: str, generation: UUID, request: UUID) -> Cleared | NotReleased:
        """Let the text leave for the client of `request`, if it may: the one way in which approved text leaves."""
        return await releasing.release(self._desk, tenant, generation, request)

    def close(self) -> None:
        """Close all connections."""
        self._files.close()
        self._lending.close()
        self._expiry.close()

    async def run(self) -> None:
        """Hear of what other processes record, and end what is over, until cancelled. Failures are retried, never raised."""
        await asyncio.gather(self._desk.watch.run(), self._expiry.run())

    async def _acting(
        self, tenant: str, generation: UUID, act: Callable[[Taken], Awaitable[Case | NotDecided]]
    ) -> Case | NotDecided:
        async with self._desk.taken(tenant, generation) as taken:
            if taken is None:
                return UNKNOWN
            if taken.renewed is not None:
                why = f"another {taken.renewed} is in force since you looked, so a new cycle has begun: look again"
                return NotDecided("stale_binding", why)
            return await act(taken)

    async def _authority(self, case: Case, choice: Choice, by: Person) -> Authority | NotDecided:
        """In whose right the person decides."""
        if choice.on_behalf_of is None:
            return rules.own_authority(by)
        return await self._lending.authority(case, choice.on_behalf_of, by)
