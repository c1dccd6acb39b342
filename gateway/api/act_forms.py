"""The JSON of what people do: decisions and other acts on held answers, and the right to decide, lent to others."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from gateway.api.forms import Asked, Hex, Moment, Password, Reason, Said, Word
from gateway.approvals.lending import MOST_GROUPS, Term
from gateway.people.ceremonies import PasskeySignature


class Decision(Asked, frozen=True):
    """A signature. A rejection takes a `reason_code`, breaking the glass a `reason`; the client is told why it was rejected.

    `binding` is that of the approval that was looked at; where it is given, a decision about another cycle is refused. To
    approve or reject, a `passkey` may take the place of the password: its challenge is the 32 bytes of the binding.
    """

    decision: Literal["approve", "reject", "break_glass"]
    password: Password | None = None
    passkey: PasskeySignature | None = None
    meaning: Literal["review", "approval", "responsibility", "authorship"] | None = None
    reason: Reason = ""
    reason_code: Word = ""
    on_behalf_of: Word | None = None
    seconds_looked: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    binding: Hex | None = None


class Edit(Asked, frozen=True):
    """Another text in place of the answer, 1 byte to 4 MiB in UTF-8: a new cycle, of which the editor cannot approve."""

    password: Password
    text: Annotated[str, Meta(min_length=1, max_length=4_194_304)]
    reason: Said


class WithReason(Asked, frozen=True):
    """An act that says why."""

    password: Password
    reason: Said


class Cancelling(Asked, frozen=True):
    """The end of an answer that nobody needs any more; a key gives up its own and sends no password."""

    password: Password | None = None


class Result(Asked, frozen=True):
    """What a test found of the content; of those of one name the last counts."""

    password: Password
    name: Annotated[str, Meta(pattern=r"\S", max_length=256)]
    passed: bool
    detail: Annotated[str, Meta(max_length=65_536)] = ""


class Lending(Asked, frozen=True):
    """The right to decide, lent to another user of the tenant: of these groups, or of all where none is named.

    It begins now unless another moment is named.
    """

    password: Password
    to: Word
    ends_at: Moment
    reason: Said
    groups: Annotated[tuple[Word, ...], Meta(max_length=MOST_GROUPS)] = ()
    starts_at: Moment | None = None


class Ending(Asked, frozen=True):
    """The end of something of one's own."""

    password: Password


class Delegation(Struct, frozen=True):
    """Who may decide for whom, in which groups (all where none is named), from when until when, and how that stands now."""

    delegation: UUID
    by: str
    to: str
    groups: list[str]
    starts_at: datetime
    ends_at: datetime
    reason: str
    term: Term


class Delegations(Struct, frozen=True):
    """All delegations of a tenant, the oldest first; those that are over are among them."""

    delegations: list[Delegation]
