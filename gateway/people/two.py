"""Acts that need people: who is claimed at a command line, and how one or two of them prove it.

two = prove_two(prover, ask, Asked(by, OPERATOR), Asked(approver, AUDITOR), "acme")
Warrant(reason, two.requested_by.on_record, two.approved_by.on_record)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from audit.writer import SYSTEM
from gateway.people.names import Role
from gateway.people.person import Person
from gateway.people.proving import NotProved, Prover
from gateway.people.throttle import Door
from gateway.registry import RegistryError

Ask: TypeAlias = Callable[[str], str]
"""Gets the password of whoever is named, from a terminal or from standard input."""


class Unproved(RegistryError):
    """Whoever was named did not prove it, or may not do this."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is to prove what: a user as records name one, `ada` or `system/ada`, who has one of these roles."""

    who: str
    roles: frozenset[Role]

    def place(self, tenant: str) -> tuple[str, str]:
        """Tenant and name of the user, as seen from a tenant's log."""
        home, slash, name = self.who.partition("/")
        return (SYSTEM, name) if slash and home == SYSTEM else (tenant, self.who)


@dataclass(frozen=True, slots=True)
class Two:
    """Two proved persons who are not one; raises Unproved if they are."""

    requested_by: Person
    approved_by: Person

    def __post_init__(self) -> None:
        if self.requested_by.id == self.approved_by.id:
            raise Unproved(f"{self.approved_by.on_record!r} cannot approve what the same user asked for: name a second person")


def prove_one(prover: Prover, ask: Ask, asked: Asked, tenant: str) -> Person:
    """The person asked for, proved by a password. Raises Unproved."""
    home, name = asked.place(tenant)
    return require(prover.prove(home, name, ask(f"Password of {asked.who}"), Door.INSIDE), asked)


def require(found: Person | NotProved, asked: Asked) -> Person:
    """The person, if it was proved and has one of the roles asked for. Raises Unproved."""
    if isinstance(found, NotProved):
        raise Unproved(f"{asked.who!r} is not proved: {found}")
    if found.roles.isdisjoint(asked.roles):
        raise Unproved(f"{asked.who!r} may not do this: it takes the role {' or '.join(sorted(asked.roles))}")
    return found


def prove_two(prover: Prover, ask: Ask, requests: Asked, approves: Asked, tenant: str) -> Two:
    """Both persons, each proved by a password of their own. Raises Unproved before anything is asked if they are one."""
    if requests.place(tenant) == approves.place(tenant):
        raise Unproved(f"{approves.who!r} cannot approve what {requests.who!r} asked for: name a second person")
    return Two(prove_one(prover, ask, requests, tenant), prove_one(prover, ask, approves, tenant))
