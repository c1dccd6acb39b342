"""Sessions: what remembers a proof between requests, for at most 12 hours and 30 idle minutes by the database's clock.

The token is 256 random bits, kept as its SHA-256. Signing in always makes a new one and ends the one that came with it, so
nobody's prepared token becomes a session. Signing out, another password and disabling end sessions at once, in every process.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Final, NewType
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, delete, func, select, update
from sqlalchemy.orm import Session

from gateway.people.person import Person, proved
from gateway.registry import digest
from gateway.tables import SignIn, User

SessionToken = NewType("SessionToken", str)
"""As a browser keeps it; never logged, never stored."""

LONGEST: Final = timedelta(hours=12)
IDLE: Final = timedelta(minutes=30)


class Sessions:
    """The sessions of all users. Blocking: call it in a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, person: Person, instead_of: str | None = None) -> SessionToken | None:
        """A new session of a person who has just proved it; `instead_of` is the token that came along, which ends.

        None if the person was disabled or got another password since the proof.
        """
        token = SessionToken(secrets.token_urlsafe(32))
        held = select(User.id).where(
            User.id == person.id, User.disabled_at.is_(None), User.password_set_at == person.password_set_at
        )
        with Session(self._engine) as session:
            # The user's row is held until COMMIT, so that a change of the password comes before or after this session.
            if session.scalar(held.with_for_update(read=True)) is None:
                return None
            if instead_of is not None:
                session.execute(delete(SignIn).where(SignIn.token_sha256 == digest(instead_of)))
            session.execute(delete(SignIn).where(SignIn.user_id == person.id, ~_alive()))
            session.add(SignIn(token_sha256=digest(token), user_id=person.id))
            session.commit()
        return token

    def find(self, token: str) -> Person | None:
        """The person of a session that is alive, which counts as a sign of life; None otherwise."""
        seen = update(SignIn).where(SignIn.token_sha256 == digest(token), _alive()).values(seen_at=func.now())
        with Session(self._engine) as session:
            user_id = session.scalar(seen.returning(SignIn.user_id))
            user = session.scalar(select(User).where(User.id == user_id, User.disabled_at.is_(None)))
            session.commit()
            return None if user is None else proved(user)

    def peek(self, token: str) -> Person | None:
        """The same without a sign of life: for what goes on by itself while somebody is signed in."""
        alive = select(SignIn.user_id).where(SignIn.token_sha256 == digest(token), _alive())
        with Session(self._engine) as session:
            user = session.scalar(select(User).where(User.id.in_(alive), User.disabled_at.is_(None)))
            return None if user is None else proved(user)

    def seen(self, user: UUID) -> list[datetime]:
        """When each session of a user that is alive was last used, the latest first."""
        query = select(SignIn.seen_at).where(SignIn.user_id == user, _alive()).order_by(SignIn.seen_at.desc())
        with Session(self._engine) as session:
            return list(session.scalars(query))

    def end(self, token: str) -> None:
        """Sign out; a token that is no session changes nothing."""
        with Session(self._engine) as session:
            session.execute(delete(SignIn).where(SignIn.token_sha256 == digest(token)))
            session.commit()


def _alive() -> ColumnElement[bool]:
    return (SignIn.made_at > func.now() - LONGEST) & (SignIn.seen_at > func.now() - IDLE)
