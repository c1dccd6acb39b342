"""Bodies of approvals, kinds 20 to 29: who let a held answer leave, or did not, over exactly which content.

A held answer is one generation, so its approval has no id of its own: these records stand in the generation's request, after
its request.close, and nothing else may follow a close. A **cycle** is one content put before people: the answer as it was
generated is cycle 1, each edit and each voiding begins the next. Every decision names the binding of its cycle, so it cannot be
read as one over other content. Names are what the gateway has proved; `attached` alone stands in the request that it ends.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from uuid import UUID

from audit.acts import LABEL, PERSON, REASON, identity
from audit.errors import InvalidRecord
from audit.forms import BOOL, DIGEST, TEXTS, UINT, UUID16, at, maybe, nested, one_of, prose, sequence, write

CONTENT = prose(4_194_304)
WORDS = prose(2048)
_UNBOUND = bytes(32)


def content_digest(content: str) -> bytes:
    """SHA-256 over the UTF-8 of a text that would be delivered."""
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class Needed:
    """One obligation of a hold as it bound when the cycle began; `groups` may decide it, any approver where none is named."""

    approval: str = field(metadata=at(1, LABEL))
    because: tuple[str, ...] = field(metadata=at(2, TEXTS))
    groups: tuple[str, ...] = field(metadata=at(3, TEXTS))
    quorum: int = field(metadata=at(4, UINT))
    separation_of_duties: bool = field(metadata=at(5, BOOL))
    edit_allowed: bool = field(metadata=at(6, BOOL))
    test_result_required: bool = field(metadata=at(7, BOOL))

    def __post_init__(self) -> None:
        if self.quorum < 1:
            raise InvalidRecord("an obligation needs at least one person")


@dataclass(frozen=True, slots=True)
class ApprovalOpened:
    """Kind 20: a cycle begins. `content` is absent in cycle 1, whose text is that of the recorded ids.

    `draft_root` is the RFC 6962 tree hash over the leaf hashes of this request's records from `first_seq` to `last_seq`;
    `binding` is what decisions are about, see FORMAT.md. Times are microseconds since 1970, as in headers.
    """

    cycle: int = field(metadata=at(1, UINT))
    content_sha256: bytes = field(metadata=at(2, DIGEST))
    """Of the UTF-8 of the text that would be delivered, and of nothing else."""
    content: str | None = field(metadata=at(3, maybe(CONTENT)))
    first_seq: int = field(metadata=at(4, UINT))
    last_seq: int = field(metadata=at(5, UINT))
    draft_root: bytes = field(metadata=at(6, DIGEST))
    policy_digest: bytes = field(metadata=at(7, DIGEST))
    weights_digest: bytes = field(metadata=at(8, DIGEST))
    needed: tuple[Needed, ...] = field(metadata=at(9, sequence(nested(Needed))))
    expires_at: int = field(metadata=at(10, UINT))
    on_expire: str = field(metadata=at(11, one_of("reject", "release")))
    requester: str = field(metadata=at(12, PERSON))
    """Who asked, as the header's caller has it."""
    contributors: tuple[str, ...] = field(metadata=at(13, TEXTS))
    """Persons whose hands touched it: the owner of the key, editors of earlier cycles."""
    binding: bytes = field(metadata=at(14, DIGEST))

    def __post_init__(self) -> None:
        if self.cycle < 1 or not self.needed:
            raise InvalidRecord("a cycle counts from 1 and needs something of somebody")
        if self.cycle == 1 and self.content is not None:
            raise InvalidRecord("the first cycle is about the recorded ids and has no content of its own")
        if self.content is not None and content_digest(self.content) != self.content_sha256:
            raise InvalidRecord("the content of a cycle has the digest that the cycle names")

    @property
    def involved(self) -> frozenset[str]:
        """Who cannot supply an approval where duties are separate, as `identity` has names."""
        return frozenset(map(identity, (self.requester, *self.contributors)))


def bound(tenant: str, request: UUID, opened: ApprovalOpened) -> ApprovalOpened:
    """The same cycle with the binding of all that it says; whatever is changed in it, or wherever it is put, has another."""
    blank = write(replace(opened, binding=_UNBOUND))
    data = b"palimpsest/binding/1\0" + tenant.encode() + b"\0" + request.bytes + blank
    return replace(opened, binding=hashlib.sha256(data).digest())


@dataclass(frozen=True, slots=True)
class ApprovalDecided:
    """Kind 21: one person's signature: printed name, meaning and method beside the decision (21 CFR 11.50, 11.200)."""

    cycle: int = field(metadata=at(1, UINT))
    binding: bytes = field(metadata=at(2, DIGEST))
    decision: str = field(metadata=at(3, one_of("approve", "reject")))
    person: str = field(metadata=at(4, PERSON))
    display_name: str = field(metadata=at(5, LABEL))
    roles: tuple[str, ...] = field(metadata=at(6, TEXTS))
    """Roles and groups as they were at this moment."""
    groups: tuple[str, ...] = field(metadata=at(7, TEXTS))
    meaning: str = field(metadata=at(8, one_of("review", "approval", "responsibility", "authorship")))
    method: str = field(metadata=at(9, one_of("password", "webauthn", "break_glass")))
    evidence: str = field(metadata=at(10, prose(4096)))
    """Of WebAuthn the assertion whose challenge is the binding; else empty."""
    reason_code: str = field(metadata=at(11, prose(256)))
    reason: str = field(metadata=at(12, WORDS))
    on_behalf_of: str | None = field(metadata=at(13, maybe(PERSON)))
    """The delegator of a delegate."""
    seconds_looked: int = field(metadata=at(14, UINT))

    def __post_init__(self) -> None:
        if self.decision == "reject" and not self.reason_code:
            raise InvalidRecord("a rejection names a reason code")
        if self.method == "break_glass" and not self.reason:
            raise InvalidRecord("breaking the glass needs a reason")
        if self.method == "break_glass" and self.decision != "approve":
            raise InvalidRecord("the glass is broken to let an answer go, never to keep it")


@dataclass(frozen=True, slots=True)
class ApprovalRevoked:
    """Kind 22: a person takes an own decision of this cycle back; possible until the end."""

    cycle: int = field(metadata=at(1, UINT))
    binding: bytes = field(metadata=at(2, DIGEST))
    person: str = field(metadata=at(3, PERSON))
    reason: str = field(metadata=at(4, REASON))


@dataclass(frozen=True, slots=True)
class ApprovalVoided:
    """Kind 23: the cycle is over without an end, because something it was bound to is another now; the next one follows.

    An edit is the editor's own content, which ApprovalOpened of the next cycle holds.
    """

    cycle: int = field(metadata=at(1, UINT))
    why: str = field(metadata=at(2, one_of("edited", "policy", "model")))
    person: str | None = field(metadata=at(3, maybe(PERSON)))
    """Who edited."""
    reason: str = field(metadata=at(4, WORDS))

    def __post_init__(self) -> None:
        if (self.why == "edited") is (self.person is None):
            raise InvalidRecord("an edit has its editor, and nothing else that voids a cycle has one")


@dataclass(frozen=True, slots=True)
class ApprovalEnded:
    """Kind 24: released or withheld for good, with what the quorum was; `records` counts the request's, from kind 20 on."""

    cycle: int = field(metadata=at(1, UINT))
    outcome: str = field(metadata=at(2, one_of("released", "withheld")))
    why: str = field(metadata=at(3, one_of("approved", "rejected", "expired", "cancelled")))
    content_sha256: bytes = field(metadata=at(4, DIGEST))
    binding: bytes = field(metadata=at(5, DIGEST))
    decisions: tuple[int, ...] = field(metadata=at(6, sequence(UINT)))
    """Seqs of the decisions that count."""
    person: str | None = field(metadata=at(7, maybe(PERSON)))
    """Who cancelled."""
    broke_glass: bool = field(metadata=at(8, BOOL))
    records: int = field(metadata=at(9, UINT))

    def __post_init__(self) -> None:
        if (self.why == "cancelled") is (self.person is None):
            raise InvalidRecord("a cancellation names who cancelled, and no other end does")


@dataclass(frozen=True, slots=True)
class ApprovedDelivery:
    """Kind 25: approved text went to the client of `request`: the one that was held, or one that attached to it later."""

    request: UUID = field(metadata=at(1, UUID16))
    bytes_released: int = field(metadata=at(2, UINT))
    sha256_released: bytes = field(metadata=at(3, DIGEST))


@dataclass(frozen=True, slots=True)
class Attached:
    """Kind 26: this request generated nothing, it is answered by an earlier generation. Its only record."""

    generation: UUID = field(metadata=at(1, UUID16))
    dialect: str = field(metadata=at(2, LABEL))


@dataclass(frozen=True, slots=True)
class Delegation:
    """Kind 27, outside any request: `to` may decide for `by` between two moments; not transitive; ends early by `revoked`."""

    delegation: UUID = field(metadata=at(1, UUID16))
    requested_by: str = field(metadata=at(2, PERSON))
    to: str = field(metadata=at(3, PERSON))
    groups: tuple[str, ...] = field(metadata=at(4, TEXTS))
    """Which of the delegator's groups; all where none is named."""
    starts_at: int = field(metadata=at(5, UINT))
    ends_at: int = field(metadata=at(6, UINT))
    reason: str = field(metadata=at(7, REASON))
    revoked: bool = field(metadata=at(8, BOOL))

    def __post_init__(self) -> None:
        if self.requested_by == self.to or self.ends_at <= self.starts_at:
            raise InvalidRecord("a delegation is to somebody else and has an end after its beginning")


@dataclass(frozen=True, slots=True)
class ResultAttached:
    """Kind 28: a test result that somebody attached to the cycle."""

    cycle: int = field(metadata=at(1, UINT))
    binding: bytes = field(metadata=at(2, DIGEST))
    person: str = field(metadata=at(3, PERSON))
    name: str = field(metadata=at(4, LABEL))
    passed: bool = field(metadata=at(5, BOOL))
    detail: str = field(metadata=at(6, prose(65_536)))


@dataclass(frozen=True, slots=True)
class AfterRelease:
    """Kind 29: said of an answer that has left: it should not have (`recall`), or its broken glass was looked at (`review`)."""

    act: str = field(metadata=at(1, one_of("recall", "review")))
    person: str = field(metadata=at(2, PERSON))
    reason: str = field(metadata=at(3, REASON))


Approval: TypeAlias = (
    ApprovalOpened | ApprovalDecided | ApprovalRevoked | ApprovalVoided | ApprovalEnded
    | ApprovedDelivery | Attached | Delegation | ResultAttached | AfterRelease
)  # fmt: skip
