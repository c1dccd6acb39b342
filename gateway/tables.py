"""The gateway's ordinary tables in schema `app`, as SQLAlchemy sees them; the migrations define them.

Mutable and never evidence. Who asked for what is in the log.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, LargeBinary, MetaData, Text, Uuid, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Table(DeclarativeBase):
    """The base of every table in schema `app`."""

    metadata = MetaData(schema="app")


class Tenant(Table):
    """Somebody with a log, a policy and keys of their own."""

    __tablename__ = "tenant"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    """1 to 63 of a-z 0-9 . _ -, as in the header of every record."""

    api_keys: Mapped[list["ApiKey"]] = relationship(back_populates="owner")


class ApiKey(Table):
    """A bearer key, known by its SHA-256 alone; revoked keys stay, because records name them."""

    __tablename__ = "api_key"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("app.tenant.name"))
    sha256: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    label: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    owner: Mapped[Tenant] = relationship(back_populates="api_keys")
