"""The users as they stand, and the two ways in which one becomes a person: a password and a session."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from gateway.people.lookup import get_user, operators
from gateway.people.names import Role, check_user_name
from gateway.people.passwords import Passwords
from gateway.people.proving import Prover
from gateway.people.sessions import Sessions
from gateway.pools import close_pool
from gateway.registry import check_name
from gateway.settings import DatabaseUrl, sqlalchemy_url
from gateway.tables import User


@dataclass(frozen=True, slots=True)
class UserLine:
    """One user as an administrator may see it."""

    id: UUID
    tenant: str
    name: str
    display_name: str
    roles: tuple[Role, ...]
    groups: tuple[str, ...]
    made_at: datetime
    password_set_at: datetime
    disabled_at: datetime | None


class Directory:
    """Users, by the gateway's own role. Blocking: call it in a thread."""

    def __init__(self, url: DatabaseUrl, passwords: Passwords | None = None) -> None:
        """Hashes are under the parameters of this release unless others are given."""
        connect = {"connect_timeout": 3}
        self._engine = create_engine(sqlalchemy_url(url), pool_size=4, pool_pre_ping=True, connect_args=connect)
        self.passwords = passwords or Passwords()
        self.prover = Prover(self._engine, self.passwords)
        self.sessions = Sessions(self._engine)

    def users(self, tenant: str | None = None) -> list[UserLine]:
        """Users by tenant and name; of one tenant if given. Raises RegistryError for a bad name."""
        query = select(User).order_by(User.tenant, User.name)
        if tenant is not None:
            check_name(tenant)
            query = query.where(User.tenant == tenant)
        with Session(self._engine) as session:
            return [_line(user) for user in session.scalars(query)]

    def user(self, tenant: str, name: str) -> UserLine:
        """One user. Raises RegistryError if unknown."""
        check_user_name(name)
        check_name(tenant)
        with Session(self._engine) as session:
            return _line(get_user(session, tenant, name))

    def has_operator(self, tenant: str) -> bool:
        """Whether an enabled user of the tenant itself is an operator."""
        check_name(tenant)
        with Session(self._engine) as session:
            return session.scalars(operators().where(User.tenant == tenant).limit(1)).first() is not None

    def close(self) -> None:
        """Close all connections."""
        close_pool(self._engine)


def _line(user: User) -> UserLine:
    roles, groups = tuple(map(Role, user.roles)), tuple(user.groups)
    return UserLine(
        user.id, user.tenant, user.name, user.display_name, roles, groups, user.made_at, user.password_set_at, user.disabled_at
    )
