"""Passkeys of people: made after the password was given again, kept by their public part, and proved by what they sign.

A passkey signs a decision inside a session and opens none. What does not prove anybody gets the answer of a wrong password, and
counts like one that is given inside a session.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import create_engine, delete, func, select, update
from sqlalchemy.orm import Session

from audit.errors import AuditError
from audit.header import uuid7
from audit.passkeys import Assertion, write_evidence
from gateway.administration import Decide
from gateway.changes import PasskeyState
from gateway.people.ceremonies import Made, NewKey, PasskeySignature, Place, Refused, made, request_of, signed
from gateway.people.person import Account, Actor, Asserted, Person, asserted
from gateway.people.proving import NotProved
from gateway.people.throttle import Door, Throttle
from gateway.people.users import other_user
from gateway.pools import close_pool
from gateway.registry import RegistryError
from gateway.settings import DatabaseUrl, sqlalchemy_url
from gateway.tables import Passkey, PasskeyOffer, User

MOST: Final = 10
"""Passkeys of one person."""
OFFERED: Final = timedelta(minutes=5)
_MOST_LABEL: Final = 64


@dataclass(frozen=True, slots=True)
class PasskeyLine:
    """A passkey as its owner and operators see it."""

    id: UUID
    label: str
    credential: bytes
    rp_id: str
    made_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """What was made, and what its owner calls it."""

    made: Made
    rp_id: str
    label: str


class Passkeys:
    """The passkeys of all people. Blocking: call it in a thread."""

    def __init__(self, url: DatabaseUrl) -> None:
        connect = {"connect_timeout": 3}
        self._engine = create_engine(sqlalchemy_url(url), pool_size=2, pool_pre_ping=True, connect_args=connect)
        self._throttle = Throttle(self._engine, Door.INSIDE)

    def of(self, user: UUID) -> tuple[PasskeyLine, ...]:
        """A user's, oldest first."""
        query = select(Passkey).where(Passkey.user_id == user).order_by(Passkey.made_at, Passkey.id)
        with Session(self._engine) as session:
            return tuple(
                PasskeyLine(each.id, each.label, each.credential, each.rp_id, each.made_at, each.used_at)
                for each in session.scalars(query)
            )

    def offer(self, place: Place, person: Person, label: str) -> str:
        """JSON of what the browser of a person, who has just given the password, is to ask for. Raises RegistryError."""
        check_label(label)
        known = [each.credential for each in self.of(person.id)]
        challenge = secrets.token_bytes(32)
        with Session(self._engine) as session:
            session.execute(delete(PasskeyOffer).where(PasskeyOffer.user_id == person.id))
            session.add(PasskeyOffer(challenge=challenge, user_id=person.id, label=label))
            session.commit()
        return request_of(place, person, challenge, known)

    def accept(self, place: Place, person: Person, answer: NewKey) -> NewPasskey:
        """The passkey that was made for the person's offer, which is over now, whatever the answer. Raises RegistryError."""
        fresh = PasskeyOffer.made_at > func.now() - OFFERED
        taken = delete(PasskeyOffer).where(PasskeyOffer.user_id == person.id, fresh)
        with Session(self._engine) as session:
            offer = session.execute(taken.returning(PasskeyOffer.challenge, PasskeyOffer.label)).one_or_none()
            session.commit()
        if offer is None:
            raise RegistryError("no passkey is being made here, or it took too long: begin again")
        try:
            return NewPasskey(made(place, offer.challenge, answer), place.rp_id, offer.label)
        except Refused as error:
            raise RegistryError("this is not a passkey that can be used here: begin again, or try another") from error

    def prove(self, place: Place, person: Person, answer: PasskeySignature, challenge: bytes) -> Asserted | NotProved:
        """The same person, by a passkey that signed the challenge. Raises SQLAlchemyError."""
        if wait := self._throttle.claim(person.tenant, person.name):
            return NotProved(wait)
        with Session(self._engine) as session:
            found = _signing(session, place, person, answer, challenge)
            session.commit()
        if found is None:
            return NotProved()
        self._throttle.clear(person.tenant, person.name)
        return found

    def close(self) -> None:
        """Close all connections."""
        close_pool(self._engine)


def check_label(label: str) -> None:
    """Raise RegistryError unless this is one trimmed line of 1 to 64 printable characters."""
    if not (0 < len(label) <= _MOST_LABEL and label.isprintable() and label == label.strip()):
        raise RegistryError(f"name the passkey in one line of 1 to {_MOST_LABEL} printable characters")


def added(person: Person, new: NewPasskey) -> Decide:
    """A person may sign with this from now on."""

    def decide(session: Session, by: Actor) -> PasskeyState:
        _require_self(session, person, by)
        if session.scalar(select(Passkey.id).where(Passkey.credential == new.made.credential).limit(1)) is not None:
            raise RegistryError("this passkey is enrolled already")
        held = session.scalar(select(func.count()).select_from(Passkey).where(Passkey.user_id == person.id))
        if (held or 0) >= MOST:
            raise RegistryError(f"a person has at most {MOST} passkeys: remove one first")
        key = new.made
        return PasskeyState(
            "added", uuid7(), person.id, person.name, key.credential, key.public_key, new.rp_id, new.label, key.sign_count
        )

    return decide


def removed(person: Person, passkey: UUID) -> Decide:
    """Nobody signs with an own passkey any more; what it has signed stays signed."""

    def decide(session: Session, by: Actor) -> PasskeyState:
        _require_self(session, person, by)
        return _removal(session, person.id, person.name, passkey)

    return decide


def withdrawn(tenant: str, name: str, passkey: UUID) -> Decide:
    """An operator removes a passkey of somebody else, who has lost it or is to sign no more."""

    def decide(session: Session, by: Actor) -> PasskeyState:
        user = other_user(session, tenant, name, by, "remove your own on your account page, with your password")
        return _removal(session, user.id, user.name, passkey)

    return decide


def _removal(session: Session, owner: UUID, name: str, passkey: UUID) -> PasskeyState:
    row = session.scalar(select(Passkey).where(Passkey.id == passkey, Passkey.user_id == owner))
    if row is None:
        raise RegistryError(f"{name!r} has no such passkey")
    told = (row.credential, row.public_key, row.rp_id, row.label, row.sign_count)
    return PasskeyState("removed", row.id, owner, name, *told)


def _require_self(session: Session, person: Person, by: Actor) -> None:
    """Passkeys are their owner's alone, as long as the password holds with which it was proved. Raises RegistryError."""
    user = session.get(User, person.id)
    own = not isinstance(by, Account) and by.id == person.id
    if not own or user is None or user.disabled_at is not None or user.password_set_at != person.password_set_at:
        raise RegistryError(f"user {person.name!r} was changed meanwhile: begin again")


def _signing(session: Session, place: Place, person: Person, answer: PasskeySignature, challenge: bytes) -> Asserted | None:
    """The row is held until COMMIT, so that two signatures of one count cannot both be the next."""
    try:
        own = select(Passkey).where(Passkey.user_id == person.id, Passkey.credential == answer.credential)
        row = session.scalar(own.with_for_update())
        user = session.scalar(select(User).where(User.id == person.id, User.disabled_at.is_(None)))
        if row is None or user is None:
            return None
        assertion = answer.under(row.public_key)
        signed(place, challenge, assertion, row.sign_count)
        write_evidence(assertion)
    except (AuditError, Refused):
        return None
    _seen(session, row, assertion)
    return asserted(user, challenge, assertion)


def _seen(session: Session, row: Passkey, assertion: Assertion) -> None:
    used = {"sign_count": assertion.sign_count, "used_at": func.clock_timestamp()}
    session.execute(update(Passkey).where(Passkey.id == row.id).values(used))
