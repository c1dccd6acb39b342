"""A name and a password become a person, or a refusal that does not say what was wrong.

A name that nobody has, one that nobody could have, a disabled user and a wrong password cost the same work and get the same
answer; so do the pauses after too many of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from audit.errors import AuditError
from audit.header import check_tenant
from gateway.people.lookup import find_user
from gateway.people.names import is_user_name
from gateway.people.passwords import Passwords, check_new
from gateway.people.person import Person, proved
from gateway.people.throttle import Door, Throttle
from gateway.tables import User


@dataclass(frozen=True, slots=True)
class NotProved:
    """Nobody was proved; `wait` seconds must pass before the name is looked at again, 0 if it was looked at."""

    wait: int = 0

    def __str__(self) -> str:
        if self.wait:
            return f"too many attempts on this name: wait {self.wait} s"
        return "no such user, a wrong password, or a disabled user"


class Prover:
    """Checks passwords against the users of the database. Blocking: a gateway calls it by `hashing.in_turn`."""

    def __init__(self, engine: Engine, passwords: Passwords) -> None:
        self._engine = engine
        self._passwords = passwords
        self._throttles = {door: Throttle(engine, door) for door in Door}

    def prove(self, tenant: str, name: str, password: str, door: Door = Door.SIGN_IN) -> Person | NotProved:
        """The person with this password. Raises SQLAlchemyError when the database cannot be reached."""
        throttle = self._throttles[door]
        if wait := throttle.claim(tenant, name):
            return NotProved(wait)
        user = self._find(tenant, name)
        right = self._passwords.match(None if user is None else user.password, password)
        if user is None or not right or user.disabled_at is not None:
            return NotProved()
        throttle.clear(tenant, name)
        if self._passwords.outdated(user.password):
            self._hash_anew(user, password)
        return proved(user)

    def _find(self, tenant: str, name: str) -> User | None:
        if not (_is_tenant_name(tenant) and is_user_name(name)):
            return None
        with Session(self._engine) as session:
            return find_user(session, tenant, name)

    def _hash_anew(self, user: User, password: str) -> None:
        """The same password under the parameters of today, unless another was set meanwhile."""
        renewed = self._passwords.hash(check_new(password, user.name))
        same = update(User).where(User.id == user.id, User.password == user.password)
        with Session(self._engine) as session:
            session.execute(same.values(password=renewed))
            session.commit()


def _is_tenant_name(tenant: str) -> bool:
    try:
        check_tenant(tenant)
    except AuditError:
        return False
    return True
