"""A proved person. Nobody is one by being named: `proved` is called where a password or a session was checked, only there."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

from audit.writer import SYSTEM
from gateway.account import account
from gateway.people.names import Role
from gateway.tables import User

_SEAL: Final = object()


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who proved to be this user, with the roles and groups of that moment. Made by `prove` and `Sessions.find`."""

    id: UUID
    tenant: str
    name: str
    display_name: str
    roles: frozenset[Role]
    groups: tuple[str, ...]
    password_set_at: datetime = field(repr=False)
    """Which password it was: a session begins only while that one holds."""
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("a Person is made by prove() and by Sessions.find(), from a password or a session")

    @property
    def on_record(self) -> str:
        """How records name the person."""
        return f"{SYSTEM}/{self.name}" if self.tenant == SYSTEM else self.name

    def serves(self, tenant: str) -> bool:
        """Whether the person belongs to this tenant, or to `system` and so to all."""
        return self.tenant in (tenant, SYSTEM)


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the operating system: whoever runs a command there, and has proved nothing to the gateway."""

    on_record: str
    """How records name the account; no user's name has a space."""

    @classmethod
    def mine(cls) -> Account:
        """The account that runs this."""
        return cls(account())


Actor: TypeAlias = Person | Account
"""Who changes something."""


def proved(user: User) -> Person:
    """The person of a user whose password or session was just checked."""
    roles = frozenset(map(Role, user.roles))
    groups = tuple(user.groups)
    return Person(user.id, user.tenant, user.name, user.display_name, roles, groups, user.password_set_at, _SEAL)
