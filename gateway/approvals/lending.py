"""The right to decide, lent by one person to another for a time; what was lent cannot be lent on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from audit.acts import identity
from audit.approvals import Delegation
from audit.assent import APPROVER
from audit.delegations import Delegations
from audit.header import uuid7
from audit.writer import SYSTEM, Entry
from gateway.approvals.case import Case
from gateway.approvals.choices import Delegate, NotDecided
from gateway.approvals.desk import Desk, now
from gateway.approvals.rules import Authority, lent_authority, sayable, unspoken
from gateway.approvals.terms import SECOND
from gateway.errors import Unavailable
from gateway.people.duties import READS_HELD
from gateway.people.lookup import find_user
from gateway.people.names import Role
from gateway.people.person import Person
from gateway.pools import close_pool
from gateway.settings import DatabaseUrl, sqlalchemy_url
from gateway.tables import User

MOST_GROUPS: Final = 64
READERS: Final = " or ".join(role.value for role in READS_HELD)
YEAR_10000: Final = 253_402_300_800
"""Seconds since 1970 from which no calendar here can say a moment, not even in a list of what was lent."""


class Term(StrEnum):
    """Where a delegation stands in time."""

    COMING = "coming"
    HOLDING = "holding"
    OVER = "over"
    ENDED = "ended"
    """Before its time, by whoever lent it."""

    @classmethod
    def of(cls, lent: Delegation) -> Term:
        """Of a delegation, now."""
        if lent.revoked:
            return cls.ENDED
        moment = now()
        return cls.COMING if moment < lent.starts_at else cls.HOLDING if moment < lent.ends_at else cls.OVER


class Lending:
    """Delegations of all tenants. Belongs to the event loop of its desk."""

    def __init__(self, desk: Desk, app_url: DatabaseUrl) -> None:
        self._desk = desk
        self._engine = create_engine(
            sqlalchemy_url(app_url), pool_size=1, pool_pre_ping=True, connect_args={"connect_timeout": 3}
        )

    async def lend(self, tenant: str, lent: Delegate, by: Person) -> Delegation | NotDecided:
        """Record that another user of the tenant may decide for this person."""
        refusal = await self._refusal(tenant, lent, by)
        if refusal is not None:
            return refusal
        starts, ends = (int(moment.timestamp() * SECOND) for moment in (lent.starts_at, lent.ends_at))
        made = Delegation(uuid7(), by.on_record, lent.to, lent.groups, starts, ends, lent.reason.strip(), revoked=False)
        return await self._record(tenant, made)

    async def end(self, tenant: str, delegation: UUID, by: Person) -> Delegation | NotDecided:
        """Record that an own delegation is over; no decision is in the making under it at that moment."""
        async with self._desk.turns.of(f"{tenant}/delegations"):
            known = {each.delegation: each for each in await self.all(tenant)}
            found = known.get(delegation)
            if found is None or found.revoked or identity(found.requested_by) != identity(by.on_record):
                return NotDecided("unknown", "you have no such delegation")
            return await self._record(tenant, replace(found, revoked=True))

    async def all(self, tenant: str) -> tuple[Delegation, ...]:
        """Every delegation of a tenant as it stands, oldest first; those that are over are among them."""
        return await asyncio.to_thread(self._desk.files.delegations, tenant)

    async def authority(self, case: Case, lender: str, by: Person) -> Authority | NotDecided:
        """The right that `lender` has lent to this person, with the roles and groups that the lender has now.

        Nobody decides blind: it takes an own role by which the answer can be read. Raises Unavailable.
        """
        if by.roles.isdisjoint(READS_HELD):
            return NotDecided("not_permitted", f"deciding takes a role that may read the answer: {READERS}")
        known = Delegations({each.delegation: each for each in await self.all(case.tenant)})
        found = known.holding(lender, by.on_record, now(case))
        user = await asyncio.to_thread(self._user, case.tenant, lender) if found else None
        if user is None or APPROVER not in user.roles:
            return NotDecided("not_permitted", f"{lender!r} has lent you no right to decide that holds now")
        return lent_authority(found, user.roles, user.groups)

    def close(self) -> None:
        """Close all connections."""
        close_pool(self._engine)

    async def _refusal(self, tenant: str, lent: Delegate, by: Person) -> NotDecided | None:
        if not by.serves(tenant) or Role.APPROVER not in by.roles:
            return NotDecided("not_permitted", "only an approver can delegate approvals")
        starts, ends = lent.starts_at.timestamp(), lent.ends_at.timestamp()
        if not (0 <= starts < ends < YEAR_10000 and ends * SECOND > now()):
            return NotDecided("not_permitted", "a delegation ends after it begins, in the future, and before the year 10000")
        if len(lent.groups) > MOST_GROUPS or not all(sayable(group, least=1, most=256) for group in lent.groups):
            return NotDecided("not_permitted", f"a delegation names at most {MOST_GROUPS} groups")
        other = None if identity(lent.to) == identity(by.on_record) else await asyncio.to_thread(self._user, tenant, lent.to)
        if other is None or frozenset(other.roles).isdisjoint(READS_HELD):
            return NotDecided("not_permitted", f"name another enabled user of this tenant, who is {READERS}")
        return unspoken(lent.reason)

    async def _record(self, tenant: str, made: Delegation) -> Delegation:
        await self._desk.append([Entry(tenant, None, made.requested_by, None, made)])
        return made

    def _user(self, tenant: str, who: str) -> User | None:
        """The enabled user whom records of this tenant name so, if there is one."""
        home, slash, name = who.rpartition("/")
        if slash and home != SYSTEM:
            return None
        try:
            with Session(self._engine) as session:
                user = find_user(session, home or tenant, name)
        except SQLAlchemyError as error:
            raise Unavailable("the users cannot be read; try again later", code="database_unavailable") from error
        return None if user is None or user.disabled_at is not None else user
