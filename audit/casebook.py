"""The held answers of a log, and who may decide for whom: fed with every record of an approval, in order of seq."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from audit.acts import PasskeyChange
from audit.approvals import ApprovedDelivery, Delegation
from audit.cases import Drafts
from audit.header import Header
from audit.held import Held
from audit.powers import Powers
from audit.records import Body


@dataclass(slots=True)
class Casebook:
    """Memory grows with held answers, and by an id for each request whose verdict is not disclosed."""

    cases: dict[UUID, Held] = field(default_factory=dict)
    attached: dict[UUID, UUID | None] = field(default_factory=dict)
    """The generation that answers a request; None where that is not disclosed."""
    _unjudged: set[UUID] = field(default_factory=set)
    _powers: Powers = field(default_factory=Powers)

    def hold(self, tenant: str, generation: UUID, drafts: Drafts | None) -> None:
        """An answer was held: its approval may follow."""
        self.cases[generation] = Held(tenant, generation, drafts)

    def pass_over(self, generation: UUID) -> None:
        """A request was closed under a verdict that is not disclosed: it may have been held."""
        self._unjudged.add(generation)

    def delegate(self, header: Header, body: Body | None) -> Iterator[str]:
        """Take in a delegation."""
        if header.request is not None:
            yield "a delegation belongs to no request"
        self._powers.delegations.add(body if isinstance(body, Delegation) else None)

    def enrol(self, header: Header, body: Body | None) -> Iterator[str]:
        """Take in a passkey that was added or removed."""
        if header.request is not None:
            yield "a passkey belongs to no request"
        yield from self._powers.enrolments.add(header.ts, body if isinstance(body, PasskeyChange) else None)

    def add(self, generation: UUID, header: Header, body: Body | None) -> Iterator[str]:
        """Take in a record of an approval; yields what contradicts the ones before."""
        if generation in self._unjudged:
            self._unjudged.remove(generation)
            self.hold(header.tenant, generation, None)
        case = self.cases.get(generation)
        if case is None:
            yield "it is about an approval, and the answer was not held"
            return
        yield from case.add(header, body, self._powers)
        if isinstance(body, ApprovedDelivery) and self.attached.get(body.request, generation) not in (generation, None):
            yield f"it was delivered to request {body.request}, which another generation answers"
        elif isinstance(body, ApprovedDelivery) and body.request != generation and body.request not in self.attached:
            yield f"it was delivered to request {body.request}, which is not attached to it"

    def unchecked(self) -> Iterator[str]:
        """What of the approvals nobody looked at, in words."""
        unread = sum(case.unread > 0 for case in self.cases.values())
        if unread:
            yield f"the approvals of {unread} held answers with unread bodies"
        if lent := sum(case.lent for case in self.cases.values()):
            yield f"on whose behalf {lent} decisions were made (not every delegation can be read here)"
        if unproven := sum(case.unproven for case in self.cases.values()):
            yield f"the enrolment of the passkeys of {unproven} signatures (each verifies under the key that it names)"
        broken = [generation for generation, case in self.cases.items() if _is_unreviewed(case)]
        if broken:
            shown = ", ".join(str(generation) for generation in broken[:5])
            yield f"whether {len(broken)} answers left rightly through a broken glass, with no review on record: {shown}"


def _is_unreviewed(case: Held) -> bool:
    broke = case.ended is not None and case.ended.broke_glass
    return broke and not any(each.act == "review" for each in case.after)
