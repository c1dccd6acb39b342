"""The budgets' tables in schema `app`, as SQLAlchemy sees them; migration 0006 defines them and what writes them."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Numeric, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from gateway.tables import Table


class BudgetAccount(Table):
    """One budget of one key, tenant or workflow; `span` is its window, None for concurrency."""

    __tablename__ = "budget_account"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    tenant: Mapped[str] = mapped_column(Text)
    budget: Mapped[str] = mapped_column(Text)
    per: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(Text)
    unit: Mapped[str] = mapped_column(Text)
    span: Mapped[str | None] = mapped_column(Text)
    zone: Mapped[str] = mapped_column(Text)
    amount: Mapped[Decimal] = mapped_column(Numeric)
    reserved: Mapped[Decimal] = mapped_column(Numeric)
    touched_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class BudgetSlice(Table):
    """What was spent in one slice of time, and until when it counts."""

    __tablename__ = "budget_slice"

    account: Mapped[UUID] = mapped_column(ForeignKey("app.budget_account.id"), primary_key=True)
    until: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    spent: Mapped[Decimal] = mapped_column(Numeric)


class BudgetLease(Table):
    """All reservations of one request; open until `settled_at` is set, and expired once nobody has renewed it."""

    __tablename__ = "budget_lease"

    request: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    tenant: Mapped[str] = mapped_column(Text)
    instance: Mapped[UUID] = mapped_column(Uuid)
    mode: Mapped[str] = mapped_column(Text)
    prices: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    settled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
