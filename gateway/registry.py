"""Tenants and their API keys, in the ordinary tables of schema `app`.

A key is shown once, when it is made; the table keeps its SHA-256 (keys are 256 random bits, so a slow hash would add
nothing). Every method opens its own short transaction and commits explicitly. Blocking: call it in a thread.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NewType
from uuid import UUID

from sqlalchemy import create_engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from audit.errors import AuditError
from audit.header import check_tenant, uuid7
from audit.writer import SYSTEM
from gateway.settings import DatabaseUrl, sqlalchemy_url
from gateway.tables import ApiKey, Tenant

ApiKeyText = NewType("ApiKeyText", str)
"""A whole API key as a client sends it; never logged, never stored."""

PREFIX: Final = "pal-"


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
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks: the tenant, and the id of the key that proved it."""

    tenant: str
    caller: str


def digest(key: str) -> bytes:
    """What the table keeps of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


class Registry:
    """The tables behind authentication and administration."""

    def __init__(self, url: DatabaseUrl) -> None:
        # A dead server must show within seconds: the client is waiting for its 503.
        connect = {"connect_timeout": 3}
        self._engine = create_engine(sqlalchemy_url(url), pool_size=4, pool_pre_ping=True, connect_args=connect)
        self._session = sessionmaker(self._engine, expire_on_commit=False)

    def find(self, key: str) -> Subject | None:
        """The holder of a valid key, None for an unknown or revoked one. Raises SQLAlchemyError when unreachable."""
        query = select(ApiKey).where(ApiKey.sha256 == digest(key), ApiKey.revoked_at.is_(None))
        with self._session() as session:
            found = session.scalar(query)
        return None if found is None else Subject(found.tenant, str(found.id))

    def create_tenant(self, name: str) -> None:
        """Make a tenant. Raises RegistryError for a bad name or one in use."""
        _check_name(name)
        if name == SYSTEM:
            raise RegistryError(f"tenant {SYSTEM!r} is the log of global acts: choose another name")
        with self._session() as session:
            session.add(Tenant(name=name))
            self._commit(session, f"tenant {name!r} exists already")

    def tenants(self) -> Sequence[str]:
        """All tenants by name."""
        with self._session() as session:
            return session.scalars(select(Tenant.name).order_by(Tenant.name)).all()

    def create_key(self, tenant: str, label: str) -> NewKey:
        """Make a key for a tenant. Raises RegistryError if there is no such tenant, or for a label no list could show."""
        _check_name(tenant)
        if not label.isprintable():
            raise RegistryError("a label is one line of printable text: choose another")
        key = NewKey(uuid7(), ApiKeyText(PREFIX + secrets.token_urlsafe(32)))
        with self._session() as session:
            session.add(ApiKey(id=key.id, tenant=tenant, sha256=digest(key.text), label=label))
            self._commit(session, f"there is no tenant {tenant!r}: make it with `palimpsest tenants create`")
        return key

    def keys(self, tenant: str | None = None) -> list[KeyLine]:
        """Keys, oldest first; of one tenant if given. Raises RegistryError for a bad name."""
        query = select(ApiKey).order_by(ApiKey.created_at)
        if tenant is not None:
            _check_name(tenant)
            query = query.where(ApiKey.tenant == tenant)
        with self._session() as session:
            found = session.scalars(query).all()
        return [KeyLine(key.id, key.tenant, key.label, key.created_at, key.revoked_at) for key in found]

    def revoke_key(self, key_id: UUID) -> None:
        """Revoke a key from the next request on; revoking twice changes nothing. Raises RegistryError if unknown."""
        with self._session() as session:
            found = session.get(ApiKey, key_id)
            if found is None:
                raise RegistryError(f"there is no key {key_id}: see `palimpsest keys list`")
            if found.revoked_at is None:
                found.revoked_at = datetime.now(UTC)
            session.commit()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @staticmethod
    def _commit(session: Session, refusal: str) -> None:
        try:
            session.commit()
        except IntegrityError as error:
            raise RegistryError(refusal) from error


def _check_name(tenant: str) -> None:
    try:
        check_tenant(tenant)
    except AuditError as error:
        raise RegistryError(str(error)) from error
