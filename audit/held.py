"""One held answer, folded from its records: its cycle, the signatures that stand, and how it ended.

Fed in order of seq by the verifier, which reports what contradicts the records before, and by the gateway, which asks the same
rules first. Nothing of a case is kept anywhere else. Where a record could not be read nothing more is judged, only counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from audit.acts import identity
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
from audit.assent import names_in
from audit.cases import Drafts, Signed, decision_faults, ending_faults, opening_faults
from audit.errors import MalformedData
from audit.header import Header
from audit.passkeys import assertion_faults, read_evidence
from audit.powers import Powers
from audit.records import Body, Kind

CASE_KINDS: Final = frozenset(map(int, (
    Kind.APPROVAL_OPENED, Kind.APPROVAL_DECIDED, Kind.APPROVAL_REVOKED, Kind.APPROVAL_VOIDED, Kind.APPROVAL_ENDED,
    Kind.APPROVED_DELIVERY, Kind.RESULT_ATTACHED, Kind.AFTER_RELEASE,
)))  # fmt: skip
"""What may follow the close of a held answer."""


@dataclass(slots=True)
class Held:
    """The case of one generation. `drafts` is None where the records before are not at hand: then nothing is said of them."""

    tenant: str
    generation: UUID
    drafts: Drafts | None = None
    opened: ApprovalOpened | None = None
    voided: ApprovalVoided | None = None
    """Why the cycle of `opened` is over, until the next one begins."""
    signed: dict[int, Signed] = field(default_factory=dict)
    results: list[ResultAttached] = field(default_factory=list)
    ended: ApprovalEnded | None = None
    ended_ts: int = 0
    after: list[AfterRelease] = field(default_factory=list)
    records: int = 0
    unread: int = 0
    last_seq: int = 0
    asserted: set[bytes] = field(default_factory=set)
    """What passkeys have signed in this case, as `Assertion.statement` has it, also where the decision was taken back."""
    unproven: int = 0
    """Signatures of passkeys of which nobody here can say that they were enrolled."""
    lent: int = 0
    """Decisions for others, made when some delegation could not be read: whether they had the right nobody here can say."""

    def add(self, header: Header, body: Body | None, powers: Powers) -> Iterator[str]:
        """Take in the next record of the case; yields what contradicts the ones before."""
        self.records, self.last_seq = self.records + 1, header.seq
        self.unread += body is None
        if self.unread:
            return
        if self.ended is not None and not isinstance(body, ApprovedDelivery | AfterRelease):
            yield f"it follows although the answer was {self.ended.outcome} already"
        if isinstance(body, ApprovalOpened):
            yield from self._open(header, body)
        elif self.opened is None:
            yield "no approval was opened before it"
        elif self.voided is not None:
            yield f"cycle {self.opened.cycle} was void: nothing but the next cycle may follow"
        else:
            yield from self._go_on(self.opened, header, body, powers)

    def _go_on(self, opened: ApprovalOpened, header: Header, body: Body | None, powers: Powers) -> Iterator[str]:
        person = getattr(body, "person", None)
        if person is not None and person != header.actor:
            yield f"it is an act of {person!r} and was recorded by {header.actor!r}"
        cycle, binding = getattr(body, "cycle", opened.cycle), getattr(body, "binding", opened.binding)
        if cycle != opened.cycle or binding != opened.binding:
            yield f"it is about another cycle or content than cycle {opened.cycle}, which is open"
            return
        match body:
            case ApprovalDecided():
                yield from self._decide(opened, header, body, powers)
            case ApprovalRevoked():
                yield from self._revoke(body)
            case ApprovalVoided():
                yield from self._void(opened, body)
            case ResultAttached():
                self.results.append(body)
            case ApprovalEnded():
                yield from self._end(opened, header, body)
            case ApprovedDelivery():
                yield from self._deliver(opened, body)
            case AfterRelease():
                yield from self._look_back(body)

    def _open(self, header: Header, body: ApprovalOpened) -> Iterator[str]:
        before = None if self.opened is None else (self.opened, self.voided)
        yield from opening_faults(self.tenant, self.generation, self.drafts, before, header, body)
        self.opened, self.voided = body, None
        self.signed, self.results = {}, []

    def _decide(self, opened: ApprovalOpened, header: Header, body: ApprovalDecided, powers: Powers) -> Iterator[str]:
        yield from decision_faults(opened, self.standing(), header, body, powers)
        self.lent += body.on_behalf_of is not None and powers.delegations.unread > 0
        if body.method == "webauthn":
            yield from self._assert(header, body, powers)
        elif body.evidence:
            yield "it has the evidence of a passkey, and was not signed with one"
        self.signed[header.seq] = Signed(header.seq, header.ts, body)

    def _assert(self, header: Header, body: ApprovalDecided, powers: Powers) -> Iterator[str]:
        try:
            assertion = read_evidence(body.evidence)
        except MalformedData as error:
            yield f"its evidence is no signature of a passkey: {error}"
            return
        yield from assertion_faults(assertion, body.binding)
        if assertion.statement in self.asserted:
            yield "its passkey signed the same before: an assertion counts once"
        self.asserted.add(assertion.statement)
        enrolled = powers.enrolments.enrolled(body.person, assertion, header.ts)
        self.unproven += enrolled is None
        if enrolled is False:
            yield f"it was signed with a passkey that {body.person!r} had not enrolled"

    def _revoke(self, body: ApprovalRevoked) -> Iterator[str]:
        own = [seq for seq, each in self.signed.items() if identity(each.decided.person) == identity(body.person)]
        if not own:
            yield f"{body.person!r} takes back a decision that does not stand"
        for seq in own:
            del self.signed[seq]

    def _void(self, opened: ApprovalOpened, body: ApprovalVoided) -> Iterator[str]:
        if body.why == "edited" and not all(needed.edit_allowed for needed in opened.needed):
            yield "the answer was edited although its approvals do not allow that"
        self.voided = body

    def _end(self, opened: ApprovalOpened, header: Header, body: ApprovalEnded) -> Iterator[str]:
        if body.records != self.records:
            yield f"it declares {body.records} records of this approval, the log holds {self.records}"
        yield from ending_faults(opened, self.signed, self.results, header, body)
        self.ended, self.ended_ts = body, header.ts

    def _deliver(self, opened: ApprovalOpened, body: ApprovedDelivery) -> Iterator[str]:
        if self.ended is None or self.ended.outcome != "released":
            yield "the answer was delivered without having been released"
        if any(each.act == "recall" for each in self.after):
            yield "the answer was delivered after it was recalled"
        if body.sha256_released != opened.content_sha256:
            yield "what was delivered is not the content that was approved"
        if opened.content is not None and body.bytes_released != len(opened.content.encode()):
            yield f"{body.bytes_released} bytes were delivered, which is not the length of the content that was approved"

    def _look_back(self, body: AfterRelease) -> Iterator[str]:
        if self.ended is None or self.ended.outcome != "released":
            yield "it speaks of a release that has not been"
        elif body.act == "review" and not self.ended.broke_glass:
            yield "it reviews a broken glass, and none was broken"
        elif body.act == "review" and identity(body.person) in self.breakers():
            yield f"{body.person!r} reviews the glass that the same person broke"
        self.after.append(body)

    def standing(self) -> tuple[Signed, ...]:
        """The decisions of the current cycle that were not taken back, oldest first."""
        return tuple(self.signed.values())

    def breakers(self) -> frozenset[str]:
        """Who broke the glass in this cycle, as `identity` has names."""
        broke = [each.decided for each in self.signed.values() if each.decided.method == "break_glass"]
        return frozenset(name for decided in broke for name in names_in(decided))
