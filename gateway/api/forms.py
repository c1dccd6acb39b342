"""The JSON of the API: one class for each document, from which the OpenAPI description is made too, so that they cannot differ.

Times are RFC 3339 in UTC, digests lower-case hex, money decimal texts. Documents gain fields; none changes its meaning.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Final
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.approvals.case import State
from gateway.projections.folding import Stage
from gateway.projections.paging import ROWS, ROWS_MOST
from gateway.projections.queue import Share

Moment = Annotated[datetime, Meta(tz=True)]
Word = Annotated[str, Meta(max_length=256, pattern="^[^\\u0000]*$")]
Rows = Annotated[int, Meta(ge=1, le=ROWS_MOST, description="how many rows a page has at most")]
After = Annotated[str, Meta(max_length=128, description="`next` of the page before")]
Hex = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="a SHA-256")]
Password = Annotated[str, Meta(min_length=1, max_length=1024, description="of the signed-in person, asked for each time")]
Reason = Annotated[str, Meta(max_length=2000)]
Money = Annotated[str, Meta(extra_json_schema={"format": "decimal"})]
Said = Annotated[str, Meta(pattern=r"\S", max_length=2000, description="not blank")]
BYTES_MOST: Final = {"reason": 2048, "reason_code": 256, "name": 256, "detail": 65_536, "on_behalf_of": 256, "assigned_to": 256}
"""Bytes of UTF-8 that a record has room for; what has many characters beyond ASCII meets this limit first."""


class Asked(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a client sends; unknown names are refused, so that a misspelled filter never means everything."""


class QueueQuery(Asked, frozen=True):
    """Which held answers; without `state` those that wait: pending and approved."""

    state: State | UnsetType = UNSET
    share: Share = Share.ANYBODY
    workflow: Word | UnsetType = UNSET
    mode: Word | UnsetType = UNSET
    risk: Word | UnsetType = UNSET
    requester: Word | UnsetType = UNSET
    group: Word | UnsetType = UNSET
    expires_before: Moment | UnsetType = UNSET
    rows: Rows = ROWS
    after: After | UnsetType = UNSET


class GenerationQuery(Asked, frozen=True):
    """Which generations: opened at `since` or later, before `until`; `text_sha256` is of the whole text that was delivered."""

    mode: Word | UnsetType = UNSET
    state: Stage | UnsetType = UNSET
    caller: Word | UnsetType = UNSET
    workflow: Word | UnsetType = UNSET
    verdict: Word | UnsetType = UNSET
    since: Moment | UnsetType = UNSET
    until: Moment | UnsetType = UNSET
    text_sha256: Hex | UnsetType = UNSET
    rows: Rows = ROWS
    after: After | UnsetType = UNSET


class DaysQuery(Asked, frozen=True):
    """Which days of UTC, both included; at most 3660 of them. Default: the last thirty."""

    since: date | UnsetType = UNSET
    until: date | UnsetType = UNSET


class NoQuery(Asked, frozen=True):
    """Nothing is asked but the thing itself."""


class DeskChange(Asked, frozen=True):
    """How people share the work; what is left out stays. `lock`: read by this person for ten minutes from now, or no longer."""

    priority: Annotated[int, Meta(ge=-100, le=100)] | UnsetType = UNSET
    assigned_to: Word | UnsetType | None = UNSET
    lock: bool | UnsetType = UNSET


class Needed(Struct, frozen=True):
    """One obligation: how many people, of which groups (any approver where none is named)."""

    approval: str
    because: list[str]
    groups: list[str]
    quorum: int
    separation_of_duties: bool
    edit_allowed: bool
    test_result_required: bool


class Approval(Struct, frozen=True):
    """A held answer, by figures and names."""

    generation: UUID
    state: State
    cycle: int
    opened_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    requester: str
    contributors: list[str]
    workflow: str
    risk: str
    mode: str
    model: str
    tokens: int
    needed: list[Needed]
    decided_by: list[str]
    broke_glass: bool
    policy_digest: str
    last_seq: int
    priority: int
    assigned_to: str | None
    locked_by: str | None
    locked_until: datetime | None


class Counts(Struct, frozen=True):
    """How many wait; `soon`: in the next fifteen minutes they expire."""

    pending: int
    approved: int
    mine: int
    unassigned: int
    soon: int


class Approvals(Struct, frozen=True):
    """A page of the queue: by priority, then by what expires first. `counts` are of the whole queue, null for a key."""

    approvals: list[Approval]
    next: str | None
    counts: Counts | None


class Signed(Struct, frozen=True):
    """A decision that stands."""

    seq: int
    at: datetime
    person: str
    display_name: str
    decision: str
    meaning: str
    method: str
    reason_code: str
    reason: str
    on_behalf_of: str | None


class Case(Struct, frozen=True):
    """A held answer as its records say: what a decision is about (`content_sha256`, also the ETag), and what was decided."""

    generation: UUID
    state: State
    cycle: int
    content_sha256: str
    binding: str
    policy_digest: str
    weights_digest: str
    first_seq: int
    last_seq: int
    requester: str
    contributors: list[str]
    expires_at: datetime
    on_expire: str
    needed: list[Needed]
    signatures: list[Signed]
    words: str
    broke_glass: bool


class CaseState(Struct, frozen=True):
    """The same for the key that asked for the answer: how it stands, and the reviewer's words where it was rejected."""

    generation: UUID
    state: State
    cycle: int
    expires_at: datetime
    words: str


class Change(Struct, frozen=True):
    """One event of the feed: a held answer after a change, and the record that made it."""

    generation: UUID
    state: State
    cycle: int
    seq: int


class Content(Struct, frozen=True):
    """The exact text that would be delivered, or was."""

    generation: UUID
    cycle: int
    content_sha256: str
    text: str


class Generation(Struct, frozen=True):
    """A generation, by figures and names. Of one that is `erased` nothing is known but what headers tell."""

    id: UUID
    state: Stage
    opened_at: datetime
    closed_at: datetime | None
    caller: str
    workflow: str
    risk: str
    model: str
    mode: str
    dialect: str
    verdict: str
    reason: str
    policy_digest: str | None
    prompt_tokens: int
    tokens: int
    forwards: int
    busy_us: int
    records: int
    money: Money
    currency: str
    first_seq: int
    last_seq: int
    erased: bool
    attached_to: UUID | None


class Generations(Struct, frozen=True):
    """A page of generations, newest first."""

    generations: list[Generation]
    next: str | None


class Answer(Struct, frozen=True):
    """What was asked and what the model wrote, from the records, and which intermediate states there are to be read."""

    generation: UUID
    prompt: str
    prompt_ids: list[int]
    text: str
    ids: list[int]
    blocks: list[int]
    rounds: list[int]


class Block(Struct, frozen=True):
    """A diffusion block: its tokens and what the causal pass thought of each; `steps` counts its intermediate states."""

    seq: int
    index: int
    start: int
    seeded: bool
    steps: int
    ids: list[int]
    text: str
    commit_confidence: list[float]
    verifier_logprob: list[float]
    agreement: list[bool]
    emitted: int
    forwards: int
    complete: bool


class BlockStep(Struct, frozen=True):
    """One denoising step, position by position: what was masked before it, what it proposed, how sure it was, what it kept."""

    seq: int
    block: int
    step: int
    masked: list[bool]
    ids: list[int]
    text: str
    confidence: list[float]
    committed: list[bool]


class Round(Struct, frozen=True):
    """One round of speculation: the draft, what the causal pass picked at each place, how much was accepted, what came out."""

    seq: int
    index: int
    start: int
    draft: list[int]
    draft_text: str
    draft_confidence: list[float]
    verified: list[int]
    verified_text: str
    accepted: int
    output: list[int]
    output_text: str
    logprob: list[float]
    forwards: int
    complete: bool


class Run(Struct, frozen=True):
    """Tokens that were decoded one after the other, as one flush had them."""

    seq: int
    start: int
    ids: list[int]
    text: str
    logprob: list[float]


class End(Struct, frozen=True):
    """The last event of a live feed: the record that closed the request, and why it ended."""

    seq: int
    reason: str


class Economy(Struct, frozen=True):
    """What generations of one mode add up to. Money is by the price sheet of each policy.

    Tokens per forward: sum of tokens over sum of forwards, which are all passes after prefill. `busy_seconds` is how long the
    device worked for them, each pass shared out by rows, `seconds` from the first record to the last of each.
    """

    mode: str
    currency: str
    generations: int
    prompt_tokens: int
    tokens: int
    forwards: int
    tokens_per_forward: float | None
    seconds: float
    busy_seconds: float
    held: int
    held_share: float | None
    money: Money


class EconomyDay(Struct, frozen=True):
    """One day of UTC."""

    day: date
    modes: list[Economy]


class EconomyDays(Struct, frozen=True):
    """Sums by mode over the days, and day by day, the newest first; days without a generation are left out."""

    since: date
    until: date
    modes: list[Economy]
    days: list[EconomyDay]


class Fault(Struct, frozen=True):
    """What went wrong and what to do."""

    message: str
    type: str
    param: str | None
    code: str | None


class Failure(Struct, frozen=True):
    """Every refusal and failure."""

    error: Fault
