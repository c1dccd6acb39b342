"""The gateway's ordinary tables in schema `app`, as SQLAlchemy sees them; the migrations define them.

Mutable and never evidence. Who asked for what is in the log.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKey, LargeBinary, MetaData, Text, Uuid, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
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
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("app.user_account.id"))
    """None for a key of the tenant as a whole."""
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    owner: Mapped[Tenant] = relationship(back_populates="api_keys")
    user: Mapped["User | None"] = relationship()


class User(Table):
    """A person of a tenant, or of `system`; a disabled one stays, because records name it."""

    __tablename__ = "user_account"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    tenant: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    """Unique within the tenant, for ever; see `gateway.people.names`."""
    display_name: Mapped[str] = mapped_column(Text)
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    groups: Mapped[list[str]] = mapped_column(ARRAY(Text))
    password: Mapped[str] = mapped_column(Text)
    """The argon2id hash with its parameters and salt, in PHC form."""
    password_set_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class SignIn(Table):
    """A session: an opaque token, known by its SHA-256 alone."""

    __tablename__ = "sign_in"

    token_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app.user_account.id"))
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Passkey(Table):
    """A passkey with which a person signs decisions: its public part."""

    __tablename__ = "passkey"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app.user_account.id"))
    credential: Mapped[bytes] = mapped_column(LargeBinary)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    """COSE_Key, see `audit.passkeys`."""
    rp_id: Mapped[str] = mapped_column(Text)
    label: Mapped[str] = mapped_column(Text)
    sign_count: Mapped[int] = mapped_column(BigInteger)
    """The last one that was seen; one that does not go on is refused."""
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class PasskeyOffer(Table):
    """A challenge that a person's page was shown, until it is answered by a new passkey."""

    __tablename__ = "passkey_offer"

    challenge: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app.user_account.id"))
    label: Mapped[str] = mapped_column(Text)
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Attempt(Table):
    """How often a name was tried in vain, whether or not anybody has it."""

    __tablename__ = "attempt"

    name_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    failures: Mapped[int]
    last_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    blocked_until: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class StagedChange(Table):
    """A change that was decided and is on its way into the log and into force; see `gateway.administration`."""

    __tablename__ = "staged_change"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    tenant: Mapped[str] = mapped_column(Text)
    requested_by: Mapped[str] = mapped_column(Text)
    log_size: Mapped[int] = mapped_column(BigInteger)
    """How many records the tenant's log had before."""
    change: Mapped[dict[str, Any]] = mapped_column(JSONB)
