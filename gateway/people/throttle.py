"""How often a name may be tried. The count is in the database, so that no process begins a new one.

An attempt is counted as failed before the password is looked at, under the lock of the name's row, and forgotten when it turns
out right: many attempts at the same moment are counted one by one. After three in vain each further one doubles the pause, from
a second to a quarter of an hour. Names that nobody has are counted alike. A name left alone for a day starts anew. What
strangers try at the sign-in page and what is tried inside are counted apart: they keep nobody from signing.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from sqlalchemy import Engine, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gateway.registry import digest
from gateway.tables import Attempt

FREE: Final = 3
LONGEST: Final = timedelta(minutes=15)
FORGOTTEN: Final = timedelta(days=1)
_AT_ONCE: Final = 100


def pause(failures: int) -> timedelta:
    """How long a name rests after so many failures in a row."""
    if failures < FREE:
        return timedelta(0)
    return min(timedelta(seconds=2.0 ** min(failures - FREE, 20)), LONGEST)


class Door(Enum):
    """Where attempts on a name are made."""

    SIGN_IN = "sign-in"
    INSIDE = "inside"
    """In a session, or at the command line of the machine."""


class Throttle:
    """Attempts by name, at one door. Blocking: call it in a thread."""

    def __init__(self, engine: Engine, door: Door = Door.SIGN_IN) -> None:
        self._engine, self._door = engine, door

    def claim(self, tenant: str, name: str) -> int:
        """Count an attempt and return 0, or return how many seconds to wait and count nothing."""
        key = self._key(tenant, name)
        with Session(self._engine) as session:
            row = _locked(session, key)
            now = _now(session)  # read under the row's lock, for which this may have waited
            if row.blocked_until > now:
                session.commit()
                return math.ceil((row.blocked_until - now).total_seconds())
            row.failures = 1 if row.last_at < now - FORGOTTEN else row.failures + 1
            row.last_at, row.blocked_until = now, now + pause(row.failures)
            _forget_old(session, now)
            session.commit()
        return 0

    def clear(self, tenant: str, name: str) -> None:
        """Forget the attempts on a name: its password was given."""
        with Session(self._engine) as session:
            session.execute(delete(Attempt).where(Attempt.name_sha256 == self._key(tenant, name)))
            session.commit()

    def _key(self, tenant: str, name: str) -> bytes:
        """No name at one door has the key of a name at the other: only one of the two digested texts holds a NUL."""
        key = digest(f"{tenant}\0{name}")
        return key if self._door is Door.SIGN_IN else digest(f"{self._door.value} {key.hex()}")


def _locked(session: Session, key: bytes) -> Attempt:
    """The row of a name, made if there is none; other attempts on the name wait until this transaction ends."""
    now = func.clock_timestamp()
    fresh = insert(Attempt).values(name_sha256=key, failures=0, last_at=now, blocked_until=now)
    row = fresh.on_conflict_do_update(index_elements=[Attempt.name_sha256], set_={"failures": Attempt.failures})
    return session.scalars(row.returning(Attempt)).one()


def _forget_old(session: Session, now: datetime) -> None:
    """Names left alone go, so that made-up ones do not fill the table; what another attempt holds is left to it."""
    old = select(Attempt.name_sha256).where(Attempt.last_at < now - FORGOTTEN).limit(_AT_ONCE).with_for_update(skip_locked=True)
    session.execute(delete(Attempt).where(Attempt.name_sha256.in_(old)))


def _now(session: Session) -> datetime:
    now: datetime = session.scalars(select(func.clock_timestamp())).one()
    return now
