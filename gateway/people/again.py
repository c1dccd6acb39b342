"""Whoever is signed in proves it again, for an act that is signed: off the event loop, in one place."""

from __future__ import annotations

import asyncio
from functools import partial

from gateway.people.ceremonies import PasskeySignature, Place
from gateway.people.hashing import Line, in_turn
from gateway.people.passkeys import Passkeys
from gateway.people.person import Asserted, Person
from gateway.people.proving import NotProved, Prover
from gateway.people.throttle import Door


async def by_password(prover: Prover, person: Person, password: str) -> Person | NotProved:
    """The same person, by the password. Raises Crowded, and SQLAlchemyError when the database cannot be reached."""
    return await in_turn(Line.PEOPLE, partial(prover.prove, person.tenant, person.name, password, Door.INSIDE))


async def by_passkey(
    passkeys: Passkeys, place: Place | None, person: Person, answer: PasskeySignature, challenge: bytes
) -> Asserted | NotProved:
    """The same person, by a passkey that signed the challenge; nobody where the gateway has no name. Raises SQLAlchemyError."""
    if place is None:
        return NotProved()
    return await asyncio.to_thread(passkeys.prove, place, person, answer, challenge)
