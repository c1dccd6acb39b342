"""One request as its records tell it, folded one after the other. Pure: the same records give the same row, in any portions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

import policies
from audit.approvals import ApprovedDelivery, Attached
from audit.header import Header
from audit.judgements import ReleaseDecision
from audit.records import Body, Delivery, PolicyDecision, RequestAbandoned, RequestClose, RequestOpen
from gateway.approvals.case import State
from gateway.budgets.from_log import usage_at_end

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NOTHING: Final = Decimal(0)


class Stage(StrEnum):
    """Where a request stands; one whose answer is held stands where its approval does."""

    GENERATING = "generating"
    ANSWERED = "answered"
    REFUSED = "refused"
    """By the law, before it ran."""
    BLOCKED = "blocked"
    """The answer, by the law or a gate."""
    WITHHELD = "withheld"
    CUT = "cut"
    """Its client left."""
    FAILED = "failed"
    ABANDONED = "abandoned"
    """Its process died."""
    ATTACHED = "attached"
    """It was answered by an earlier generation."""
    ERASED = "erased"
    PENDING = State.PENDING.value
    APPROVED = State.APPROVED.value
    RELEASED = State.RELEASED.value
    REJECTED = State.REJECTED.value
    EXPIRED = State.EXPIRED.value
    CANCELLED = State.CANCELLED.value


HELD: Final = frozenset(Stage(state.value) for state in State)
"""Stages of an answer that is, or was, before people."""
_DELIVERED: Final = {"complete": Stage.ANSWERED, "aborted": Stage.CUT, "withheld": Stage.WITHHELD}
_PRICED: Final = frozenset(mode.value for mode in policies.Mode)
_BROKEN: Final = {"aborted": Stage.CUT, "fault": Stage.FAILED, "blocked": Stage.BLOCKED}


@dataclass(frozen=True, slots=True)
class Told:
    """A row of `GenerationRow`, whose fields these are."""

    id: UUID
    tenant: str
    opened_at: datetime
    caller: str
    key_id: str
    first_seq: int
    last_seq: int
    closed_at: datetime | None = None
    erased: bool = False
    state: str = Stage.GENERATING
    workflow: str = ""
    risk: str = ""
    model: str = ""
    mode: str = ""
    dialect: str = ""
    verdict: str = ""
    reason: str = ""
    policy_digest: bytes | None = None
    prompt_tokens: int = 0
    tokens: int = 0
    forwards: int = 0
    busy_us: int = 0
    records: int = 0
    money: Decimal = NOTHING
    currency: str = ""
    text_hmac: bytes | None = None
    attached_to: UUID | None = None

    def blank(self) -> Told:
        """The row of a request that can no longer be read: what its first and last headers say."""
        return Told(
            self.id, self.tenant, self.opened_at, self.caller, self.key_id, self.first_seq, self.last_seq,
            erased=True, state=Stage.ERASED,
        )  # fmt: skip


COLUMNS: Final = tuple(field.name for field in fields(Told))
HEADED: Final = frozenset({"id", "tenant", "opened_at", "caller", "key_id", "first_seq", "last_seq"})
"""Columns that headers tell; the others come from bodies and end with them."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a fold asks others for: the prices of a policy, None where nobody knows it, and the keyed hash under a key id."""

    prices: Callable[[bytes], policies.Prices | None]
    text_hmac: Callable[[str, bytes], bytes | None]


def moment(ts: int) -> datetime:
    """A header's time, microseconds since 1970, exactly."""
    return EPOCH + timedelta(microseconds=ts)


def begun(header: Header, request: UUID) -> Told:
    """The row of a request before its first record is read."""
    return Told(
        request, header.tenant, moment(header.ts), header.actor, header.key_id, header.seq, header.seq,
        policy_digest=header.policy,
    )  # fmt: skip


def told(row: Told, header: Header, body: Body | None, means: Means) -> Told:
    """The row after one more record. One that is erased stays so, whatever follows it."""
    row = replace(row, last_seq=max(row.last_seq, header.seq))
    if body is None or row.erased:
        return row.blank()
    match body:
        case RequestOpen():
            return _opened(row, body, means)
        case PolicyDecision():
            return _decided(row, body)
        case ReleaseDecision():
            return replace(row, verdict=body.verdict)
        case Delivery():
            hashed = means.text_hmac(header.key_id, body.sha256_released) if body.bytes_released else None
            return replace(row, state=_DELIVERED[body.outcome], text_hmac=hashed)
        case ApprovedDelivery():
            return replace(row, text_hmac=means.text_hmac(header.key_id, body.sha256_released))
        case RequestClose():
            return replace(_closed(row, body, means), closed_at=moment(header.ts))
        case RequestAbandoned():
            return replace(row, state=Stage.ABANDONED, closed_at=moment(header.ts))
        case Attached():
            answered = replace(row, state=Stage.ATTACHED, attached_to=body.generation, dialect=body.dialect)
            return replace(answered, closed_at=moment(header.ts))
        case _:
            return row


def _opened(row: Told, body: RequestOpen, means: Means) -> Told:
    prices = None if row.policy_digest is None else means.prices(row.policy_digest)
    return replace(
        row, workflow=_shown(body.workflow), model=body.model, mode=body.mode, dialect=body.dialect,
        prompt_tokens=body.prompt_tokens, currency="" if prices is None else prices.currency,
    )  # fmt: skip


def _decided(row: Told, body: PolicyDecision) -> Told:
    asked = body.facts
    known = replace(row, risk="" if asked is None else _shown(asked.risk or ""))
    if body.outcome == "allow":
        return known
    workflow, model = (
        (row.workflow, row.model)
        if asked is None
        else (
            _shown(asked.workflow or "") or row.workflow,
            _shown(asked.model),
        )
    )
    return replace(known, state=Stage.REFUSED, workflow=workflow, model=model, mode=body.mode)


def _shown(text: str) -> str:
    """A client's own words as a column can hold them: a log may have a NUL in them, PostgreSQL's texts may not."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _closed(row: Told, body: RequestClose, means: Means) -> Told:
    blocked = row.state == Stage.WITHHELD and row.verdict == policies.Action.BLOCK
    state = Stage.BLOCKED if blocked else _BROKEN.get(body.reason, row.state)
    counted = replace(
        row, state=state, reason=body.reason, prompt_tokens=body.prompt_tokens, tokens=body.tokens, forwards=body.forwards,
        busy_us=body.busy_us or 0, records=body.records,
    )  # fmt: skip
    prices = None if row.policy_digest is None else means.prices(row.policy_digest)
    if prices is None or row.mode not in _PRICED:
        return counted
    return replace(counted, money=policies.cost(prices, policies.Mode(row.mode), usage_at_end(body, NOTHING)))
