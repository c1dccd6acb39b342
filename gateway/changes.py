"""Changes to tenants, users, keys and passkeys as data: what the log says of each, and what it does to the tables.

A change holds all that is to be true, so carrying it out needs nothing else; it may hold the hash of a secret, which its
acts never do.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

import msgspec
from sqlalchemy import delete, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from audit.acts import Act, KeyChange, KeyTerms, PasskeyChange, TenantMade, UserChange
from gateway.people.names import Role
from gateway.tables import ApiKey, Passkey, SignIn, Tenant, User

UserAct: TypeAlias = Literal["made", "password", "roles", "groups", "disabled", "enabled", "signed_out"]


class NewTenant(msgspec.Struct, frozen=True, tag="tenant"):
    """There is a tenant of this name."""

    name: str

    def acts(self, by: str) -> tuple[Act, ...]:
        """For the log of tenant `system`."""
        return (TenantMade(self.name, by),)

    def apply(self, session: Session) -> None:
        """Add the row."""
        session.execute(insert(Tenant).values(name=self.name))


class UserState(msgspec.Struct, frozen=True, tag="user"):
    """What is true of a user after an act; `password` is the hash of a new one, None to leave it."""

    act: UserAct
    id: UUID
    tenant: str
    name: str
    display_name: str
    roles: tuple[Role, ...]
    groups: tuple[str, ...]
    enabled: bool
    password: str | None = None

    def acts(self, by: str) -> tuple[Act, ...]:
        """For the log of the user's tenant."""
        fields = (self.act, self.id, self.name, self.display_name, tuple(map(str, self.roles)), self.groups, self.enabled)
        return (UserChange(*fields, by),)

    def apply(self, session: Session) -> None:
        """Add or change the row; another password, disabling and signing out end all sessions of the user."""
        values: dict[str, Any] = {"roles": list(self.roles), "groups": list(self.groups)}
        if self.password is not None:
            values |= {"password": self.password, "password_set_at": func.clock_timestamp()}
        if self.act == "made":
            names = {"id": self.id, "tenant": self.tenant, "name": self.name, "display_name": self.display_name}
            session.execute(insert(User).values(names | values))
            return
        values["disabled_at"] = None if self.enabled else func.coalesce(User.disabled_at, func.now())
        session.execute(update(User).where(User.id == self.id).values(values))
        if self.act in ("password", "disabled", "signed_out"):
            session.execute(delete(SignIn).where(SignIn.user_id == self.id))


class KeyState(msgspec.Struct, frozen=True, tag="key"):
    """What is true of an API key after an act; `sha256` is of a new secret, None to leave it."""

    act: Literal["made", "rotated", "revoked"]
    id: UUID
    tenant: str
    label: str
    user: str | None
    user_id: UUID | None
    expires_at: datetime | None
    sha256: bytes | None = None

    def acts(self, by: str) -> tuple[Act, ...]:
        """For the log of the key's tenant; a key that is revoked needs no terms."""
        change = KeyChange(self.act, "caller", str(self.id), self.label or None, by)
        if self.act == "revoked":
            return (change,)
        expires = None if self.expires_at is None else int(self.expires_at.timestamp()) * 1_000_000
        return change, KeyTerms(str(self.id), self.user, expires, by)

    def apply(self, session: Session) -> None:
        """Add or change the row."""
        if self.act == "made":
            fixed = {"id": self.id, "tenant": self.tenant, "label": self.label, "user_id": self.user_id}
            session.execute(insert(ApiKey).values(**fixed, sha256=self.sha256, expires_at=self.expires_at))
            return
        new = {"revoked_at": func.now()} if self.act == "revoked" else {"sha256": self.sha256, "expires_at": self.expires_at}
        session.execute(update(ApiKey).where(ApiKey.id == self.id).values(**new))


class PasskeyState(msgspec.Struct, frozen=True, tag="passkey"):
    """A passkey that a user may sign with from now on, or no longer."""

    act: Literal["added", "removed"]
    id: UUID
    user_id: UUID
    name: str
    credential: bytes
    public_key: bytes
    rp_id: str
    label: str
    sign_count: int

    def acts(self, by: str) -> tuple[Act, ...]:
        """For the log of the user's tenant."""
        told = (self.act, self.user_id, self.name, self.credential, self.public_key, self.rp_id, self.label)
        return (PasskeyChange(*told, by),)

    def apply(self, session: Session) -> None:
        """Add or remove the row."""
        if self.act == "removed":
            session.execute(delete(Passkey).where(Passkey.id == self.id))
            return
        row = msgspec.structs.asdict(self)
        session.execute(insert(Passkey).values({name: row[name] for name in row if name not in ("act", "name")}))


Change: TypeAlias = NewTenant | UserState | KeyState | PasskeyState


def to_document(change: Change) -> dict[str, Any]:
    """The change as JSON values."""
    document: dict[str, Any] = msgspec.to_builtins(change)
    return document


def from_document(document: dict[str, Any]) -> Change:
    """The change of a document; raises msgspec.ValidationError for one that another release wrote."""
    change: Change = msgspec.convert(document, Change)
    return change
