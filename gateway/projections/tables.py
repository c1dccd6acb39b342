"""The projections' tables in schema `app`, as SQLAlchemy sees them; migrations 0007, 0010 and 0011 say what they are."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Date, DateTime, LargeBinary, Numeric, Text, Uuid, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from gateway.tables import Table


class Followed(Table):
    """How far a tenant's log is in these tables."""

    __tablename__ = "followed"

    tenant: Mapped[str] = mapped_column(Text, primary_key=True)
    next_seq: Mapped[int] = mapped_column(BigInteger, default=0)


class GenerationRow(Table):
    """One request of a tenant, as far as its log tells it; what is in bodies is empty where one can no longer be read."""

    __tablename__ = "generation"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    tenant: Mapped[str] = mapped_column(Text)
    opened_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    caller: Mapped[str] = mapped_column(Text)
    key_id: Mapped[str] = mapped_column(Text)
    """The month key that seals its first record."""
    first_seq: Mapped[int] = mapped_column(BigInteger)
    last_seq: Mapped[int] = mapped_column(BigInteger)
    erased: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = mapped_column(Text)
    """A `gateway.projections.folding.Stage`."""
    workflow: Mapped[str] = mapped_column(Text, default="")
    risk: Mapped[str] = mapped_column(Text, default="")
    model: Mapped[str] = mapped_column(Text, default="")
    mode: Mapped[str] = mapped_column(Text, default="")
    dialect: Mapped[str] = mapped_column(Text, default="")
    verdict: Mapped[str] = mapped_column(Text, default="")
    """Of the law on the whole answer: allow, annotate, hold or block."""
    reason: Mapped[str] = mapped_column(Text, default="")
    """Why the engine ended."""
    policy_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    forwards: Mapped[int] = mapped_column(BigInteger, default=0)
    busy_us: Mapped[int] = mapped_column(BigInteger, default=0)
    """Microseconds of the device; 0 also where they were not measured."""
    records: Mapped[int] = mapped_column(BigInteger, default=0)
    money: Mapped[Decimal] = mapped_column(Numeric, default=Decimal(0))
    currency: Mapped[str] = mapped_column(Text, default="")
    text_hmac: Mapped[bytes | None] = mapped_column(LargeBinary)
    attached_to: Mapped[UUID | None] = mapped_column(Uuid)


class DayRow(Table):
    """What the requests of one mode that came on one UTC day add up to; a sum over `GenerationRow`."""

    __tablename__ = "generation_day"

    tenant: Mapped[str] = mapped_column(Text, primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    mode: Mapped[str] = mapped_column(Text, primary_key=True)
    currency: Mapped[str] = mapped_column(Text, primary_key=True)
    generations: Mapped[int] = mapped_column(BigInteger)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger)
    tokens: Mapped[int] = mapped_column(BigInteger)
    forwards: Mapped[int] = mapped_column(BigInteger)
    busy_us: Mapped[int] = mapped_column(BigInteger)
    microseconds: Mapped[int] = mapped_column(BigInteger)
    held: Mapped[int] = mapped_column(BigInteger)
    money: Mapped[Decimal] = mapped_column(Numeric)


class ApprovalRow(Table):
    """Where the approval of a held answer stands."""

    __tablename__ = "approval"

    generation: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    tenant: Mapped[str] = mapped_column(Text)
    cycle: Mapped[int]
    state: Mapped[str] = mapped_column(Text)
    opened_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    requester: Mapped[str] = mapped_column(Text)
    contributors: Mapped[list[str]] = mapped_column(ARRAY(Text))
    workflow: Mapped[str] = mapped_column(Text)
    mode: Mapped[str] = mapped_column(Text)
    risk: Mapped[str] = mapped_column(Text, default="")
    content_sha256_hmac: Mapped[bytes] = mapped_column(LargeBinary)
    policy_digest: Mapped[bytes] = mapped_column(LargeBinary)
    needed: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    decided_by: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    """Whose decisions stand in this cycle."""
    broke_glass: Mapped[bool] = mapped_column(default=False)
    last_seq: Mapped[int] = mapped_column(BigInteger)
    """Of its newest record: what changed later has a greater one."""


class Desk(Table):
    """How people share the work on one held answer; not from the log."""

    __tablename__ = "approval_desk"

    generation: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    priority: Mapped[int] = mapped_column(default=0)
    assigned_to: Mapped[str | None] = mapped_column(Text)
    locked_by: Mapped[str | None] = mapped_column(Text)
    locked_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class LookRow(Table):
    """Up to which record a person has read a request; one row for each access on record that went further."""

    __tablename__ = "look"

    generation: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    person: Mapped[str] = mapped_column(Text, primary_key=True)
    last_seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    tenant: Mapped[str] = mapped_column(Text)


class Attachment(Table):
    """Which generation answers a request that is asked again."""

    __tablename__ = "attachment"

    tenant: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    generation: Mapped[UUID] = mapped_column(Uuid)
    instance: Mapped[UUID] = mapped_column(Uuid)
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
