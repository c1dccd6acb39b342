"""Users by name, and those who are operators: said once for whoever proves, lists, changes or forbids."""

from __future__ import annotations

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from gateway.people.names import Role, check_user_name
from gateway.registry import RegistryError
from gateway.tables import User


def find_user(session: Session, tenant: str, name: str) -> User | None:
    """The user of that name, enabled or not."""
    return session.scalar(select(User).where(User.tenant == tenant, User.name == name))


def get_user(session: Session, tenant: str, name: str) -> User:
    """The same; raises RegistryError for no such user, and for what can be no name."""
    check_user_name(name)
    found = find_user(session, tenant, name)
    if found is None:
        raise RegistryError(f"tenant {tenant!r} has no user {name!r}: see `palimpsest users list`")
    return found


def operators() -> Select[User]:
    """Enabled users who are operators, of every tenant."""
    return select(User).where(User.disabled_at.is_(None), User.roles.contains([Role.OPERATOR]))
