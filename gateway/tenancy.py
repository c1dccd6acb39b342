"""What may be decided about tenants and API keys; each function makes a decision for `Administration.make`."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec.structs import replace
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from audit.header import uuid7
from audit.writer import SYSTEM
from gateway.administration import Decide, require_operator
from gateway.changes import KeyState, NewTenant
from gateway.people.person import Actor
from gateway.people.users import user_id
from gateway.registry import PREFIX, ApiKeyText, NewKey, RegistryError, check_name, digest, get_key, require_tenant
from gateway.tables import ApiKey, Tenant

_MOST_LABEL: Final = 256


def new_key() -> NewKey:
    """A key that nobody has yet; its text exists nowhere else."""
    return NewKey(uuid7(), new_text())


def new_text() -> ApiKeyText:
    """256 random bits as a key is written."""
    return ApiKeyText(PREFIX + secrets.token_urlsafe(32))


def tenant_made(name: str) -> Decide:
    """A tenant, for the log of `system`."""
    check_name(name)
    if name == SYSTEM:
        raise RegistryError(f"tenant {SYSTEM!r} is the log of global acts: choose another name")

    def decide(session: Session, by: Actor) -> NewTenant:
        require_operator(session, SYSTEM, by)
        if session.get(Tenant, name) is not None:
            raise RegistryError(f"tenant {name!r} exists already")
        return NewTenant(name)

    return decide


def key_made(key: NewKey, tenant: str, label: str, user: str | None = None, days: int | None = None) -> Decide:
    """A key of the tenant, or of one of its users, that ends after so many days, or never."""
    if not label.isprintable() or label != label.strip() or len(label.encode()) > _MOST_LABEL:
        raise RegistryError(f"a label is one trimmed line of printable text of at most {_MOST_LABEL} bytes: choose another")

    def decide(session: Session, by: Actor) -> KeyState:
        require_tenant(session, tenant)
        if tenant == SYSTEM:
            raise RegistryError(f"tenant {SYSTEM!r} asks for no answers and has no keys")
        require_operator(session, tenant, by)
        owner = None if user is None else user_id(session, tenant, user)
        return KeyState("made", key.id, tenant, label, user, owner, _end(session, days), digest(key.text))

    return decide


def key_rotated(key_id: UUID, text: ApiKeyText, days: int | None = None) -> Decide:
    """Another secret for a key, which keeps its id; the old secret opens nothing from then on."""

    def decide(session: Session, by: Actor) -> KeyState:
        key = get_key(session, key_id)
        require_operator(session, key.tenant, by)
        if key.revoked_at is not None:
            raise RegistryError(f"key {key_id} is revoked: make another with `palimpsest keys create`")
        end = key.expires_at if days is None else _end(session, days)
        if end is not None and end <= _now(session):
            raise RegistryError(f"key {key_id} has expired: say for how long with --expires")
        return replace(_as_is(key), act="rotated", expires_at=end, sha256=digest(text))

    return decide


def key_revoked(key_id: UUID) -> Decide:
    """Within a second the key opens nothing; revoking twice changes nothing."""

    def decide(session: Session, by: Actor) -> KeyState | None:
        key = get_key(session, key_id)
        require_operator(session, key.tenant, by)
        return None if key.revoked_at is not None else _as_is(key)

    return decide


def _as_is(key: ApiKey) -> KeyState:
    user = None if key.user is None else key.user.name
    return KeyState("revoked", key.id, key.tenant, key.label, user, key.user_id, key.expires_at)


def _end(session: Session, days: int | None) -> datetime | None:
    """So many days from now, to the second, as a record can say it."""
    return None if days is None else (_now(session) + timedelta(days=days)).replace(microsecond=0)


def _now(session: Session) -> datetime:
    now: datetime = session.scalars(select(func.now())).one()
    return now
