"""A proved person. Nobody is one by being named: `proved` is called where a password or a session was checked, only there.

So it is with a signature by passkey: `asserted` is called where one was verified.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

from audit.passkeys import Assertion
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
class Asserted:
    """A person whose passkey has just signed this challenge, the binding of one cycle. Made by `Passkeys.prove`."""

    person: Person
    challenge: bytes
    assertion: Assertion
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("an Asserted is made by Passkeys.prove(), from a signature that verifies")


Signer: TypeAlias = Person | Asserted
"""Who signs a decision: by a password, or by a passkey for one cycle."""


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


def asserted(user: User, challenge: bytes, assertion: Assertion) -> Asserted:
    """The person of a user whose passkey's signature was just verified."""
    return Asserted(proved(user), challenge, assertion, _SEAL)


def person_of(signer: Signer) -> Person:
    """Who it is, whichever way it was proved."""
    return signer.person if isinstance(signer, Asserted) else signer
