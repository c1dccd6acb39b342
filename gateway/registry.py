"""Tenants and their API keys as they stand in the ordinary tables of schema `app`; `tenancy.py` changes them.

A key is shown once, when it is made; the table keeps its SHA-256 (keys are 256 random bits, so a slow hash would add
nothing). Every method opens its own short transaction. Blocking: call it in a thread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Final, NewType
from uuid import UUID

from sqlalchemy import bindparam, create_engine, func, or_, select
from sqlalchemy.orm import Session, joinedload, sessionmaker

from audit.errors import AuditError
from audit.header import check_tenant
from audit.keys import KeyStore
from audit.writer import SYSTEM
from gateway.pools import close_pool
from gateway.settings import DatabaseUrl, sqlalchemy_url
from gateway.tables import ApiKey, Tenant, User

ApiKeyText = NewType("ApiKeyText", str)
"""A whole API key as a client sends it; never logged, never stored."""

PREFIX: Final = "pal-"
_VALID: Final = (
    ApiKey.revoked_at.is_(None),
    or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
    User.disabled_at.is_(None),
)
_HOLDER: Final = (
    select(ApiKey.id, ApiKey.tenant, User.name, User.groups)
    .outerjoin(ApiKey.user)
    .where(ApiKey.sha256 == bindparam("sha256"), *_VALID)
)


class RegistryError(Exception):
    """An administrative act that cannot be done; the message says what to do instead."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made; `text` exists nowhere else."""

    id: UUID
    text: ApiKeyText = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyLine:
    """One key as an administrator may see it."""

    id: UUID
    tenant: str
    label: str
    user: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks: the tenant, and the id of the key that proved it; for a user's key the user's name and groups as well."""

    tenant: str
    caller: str
    groups: tuple[str, ...] = ()
    user: str | None = None


def digest(key: str) -> bytes:
    """What a table keeps of a key, a token or a name."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


class Registry:
    """The tables behind authentication and administration."""

    def __init__(self, url: DatabaseUrl) -> None:
        # A dead server must show within seconds: the client is waiting for its 503.
        connect = {"connect_timeout": 3}
        self._engine = create_engine(sqlalchemy_url(url), pool_size=4, pool_pre_ping=True, connect_args=connect)
        self._session = sessionmaker(self._engine, expire_on_commit=False)

    def find(self, key: str) -> Subject | None:
        """The holder of a valid key; None for one that is unknown, revoked, expired or of a disabled user.

        Raises SQLAlchemyError when the database cannot be reached.
        """
        with self._engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            found = alone.execute(_HOLDER, {"sha256": digest(key)}).first()
        if found is None:
            return None
        return Subject(found.tenant, str(found.id), tuple(found.groups or ()), found.name)

    def tenants(self) -> Sequence[str]:
        """All tenants by name."""
        with self._session() as session:
            return session.scalars(select(Tenant.name).order_by(Tenant.name)).all()

    def keys(self, tenant: str | None = None) -> list[KeyLine]:
        """Keys, oldest first; of one tenant if given. Raises RegistryError for a bad name."""
        query = select(ApiKey).order_by(ApiKey.created_at).options(joinedload(ApiKey.user))
        if tenant is not None:
            check_name(tenant)
            query = query.where(ApiKey.tenant == tenant)
        with self._session() as session:
            found = session.scalars(query).all()
        return [_line(key) for key in found]

    def tenant_of(self, key_id: UUID) -> str:
        """Whose key it is. Raises RegistryError if unknown."""
        with self._session() as session:
            return get_key(session, key_id).tenant

    def close(self) -> None:
        """Close all connections."""
        close_pool(self._engine)


def get_key(session: Session, key_id: UUID) -> ApiKey:
    """The row of a key; raises RegistryError if unknown."""
    found = session.get(ApiKey, key_id)
    if found is None:
        raise RegistryError(f"there is no key {key_id}: see `palimpsest keys list`")
    return found


def require_tenant(session: Session, tenant: str) -> None:
    """Raise RegistryError unless the tenant exists or is `system`."""
    check_name(tenant)
    if tenant != SYSTEM and session.get(Tenant, tenant) is None:
        raise RegistryError(f"there is no tenant {tenant!r}: make it with `palimpsest tenants create`")


def require_subject(registry: Registry, keys: KeyStore, tenant: str, subject: str) -> None:
    """Raise RegistryError for a subject that nobody has, now or by what is sealed: a hold on it would hold nothing."""
    callers = [str(key.id) for key in registry.keys(tenant)]
    if subject in callers or keys.keys_of(tenant, subject):
        return
    nearest = f"; {near[0]} comes nearest" if (near := get_close_matches(subject, callers, 1)) else ""
    raise RegistryError(
        f"tenant {tenant!r} has no API key {subject!r}{nearest}: `palimpsest keys list --tenant {tenant}` has their ids"
    )


def check_name(tenant: str) -> None:
    """Raise RegistryError, with the rule, for what cannot be a tenant's name."""
    try:
        check_tenant(tenant)
    except AuditError as error:
        raise RegistryError(str(error)) from error


def _line(key: ApiKey) -> KeyLine:
    user = None if key.user is None else key.user.name
    return KeyLine(key.id, key.tenant, key.label, user, key.created_at, key.expires_at, key.revoked_at)
