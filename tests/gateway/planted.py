"""Tenants, keys and users that are simply there: put into the tables as their changes would, without a record.

Quick, and it leaves a log empty for what a test is about. That the product changes nothing without a record is tested in
`people`.
"""

from __future__ import annotations

from argon2 import Parameters, Type
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from audit.header import uuid7
from gateway.changes import Change, KeyState, NewTenant, UserState
from gateway.people.names import Role, groups_of, roles_of
from gateway.people.passwords import Passwords, check_new
from gateway.people.users import user_id
from gateway.registry import NewKey, digest
from gateway.settings import DatabaseUrl, sqlalchemy_url
from gateway.tables import Tenant
from gateway.tenancy import new_key

PASSWORD = "correct horse battery"
AFFORDABLE = Parameters(Type.ID, 19, salt_len=16, hash_len=32, time_cost=1, memory_cost=8, parallelism=1)
CHEAP = Passwords(AFFORDABLE)
"""The same algorithm, at a cost that tests can afford."""


def plant_tenant(url: str, name: str) -> None:
    """The tenant exists."""
    with _session(url) as session:
        if session.get(Tenant, name) is None:
            _plant(session, NewTenant(name))


def plant_user(url: str, tenant: str, name: str, *roles: Role, groups: tuple[str, ...] = (), password: str = PASSWORD) -> None:
    """The user exists, with this password."""
    hashed = CHEAP.hash(check_new(password, name))
    with _session(url) as session:
        made = UserState("made", uuid7(), tenant, name, name.title(), roles_of(roles), groups_of(groups), True, hashed)
        _plant(session, made)


def plant_key(url: str, tenant: str, label: str = "test", user: str | None = None) -> NewKey:
    """A key of the tenant, or of one of its users."""
    key = new_key()
    with _session(url) as session:
        owner = None if user is None else user_id(session, tenant, user)
        _plant(session, KeyState("made", key.id, tenant, label, user, owner, None, digest(key.text)))
    return key


def _session(url: str) -> Session:
    return Session(create_engine(sqlalchemy_url(DatabaseUrl(url)), poolclass=NullPool))


def _plant(session: Session, change: Change) -> None:
    change.apply(session)
    session.commit()
