"""Signatures in place: a person proves again who it is, and a second one beside them where an act takes two."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import msgspec

from audit.errors import InvalidRecord
from audit.lifecycle import ActRefused, Warrant
from audit.passkeys import text_of
from gateway.errors import BadRequest
from gateway.house import House
from gateway.people.again import by_passkey, by_password
from gateway.people.ceremonies import PasskeySignature, place_of
from gateway.people.duties import Duty
from gateway.people.hashing import Line, in_turn
from gateway.people.names import Role
from gateway.people.person import Asserted, Person
from gateway.people.proving import NotProved
from gateway.people.two import Asked, prove_two, require
from gateway.registry import RegistryError
from gateway.ui.forms import Fields
from gateway.ui.visitor import Visitor

PASSKEY_MOST: Final = 16_384
"""Characters of what an authenticator gave."""
S = TypeVar("S", bound=msgspec.Struct)
REFUSALS: Final = (RegistryError, ActRefused, InvalidRecord, BadRequest)
"""What a form may be answered with where it stands, in words for people."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The visitor's passkeys that were made for this gateway's name, which browsers use at this origin alone."""

    rp_id: str
    origin: str
    ids: tuple[str, ...]


async def signed(house: House, visitor: Visitor, asked: Fields, roles: frozenset[Role]) -> Person:
    """The visitor, who has one of the roles and has just given the password. Raises Unproved."""
    found = await by_password(house.directory.prover, visitor.person, asked.text("password"))
    return require(found, Asked(visitor.person.on_record, roles))


async def signer_by_passkey(house: House, visitor: Visitor, asked: Fields, challenge: bytes) -> Asserted | NotProved:
    """The visitor, whose passkey has just signed the challenge. Raises BadRequest."""
    answer = read(asked.text("passkey", PASSKEY_MOST), PasskeySignature)
    return await by_passkey(house.passkeys, place_of(house.settings), visitor.person, answer, challenge)


async def keys_of(house: House, visitor: Visitor) -> Keys | None:
    """What a page offers the visitor to sign with instead of the password, if there is something."""
    place = place_of(house.settings)
    if place is None:
        return None
    known = await asyncio.to_thread(house.passkeys.of, visitor.person.id)
    ids = tuple(text_of(each.credential) for each in known if each.rp_id == place.rp_id)
    return Keys(place.rp_id, place.origin, ids) if ids else None


def read(text: str, form: type[S]) -> S:
    """What a script of ours put into a field. Raises BadRequest for anything else."""
    try:
        return msgspec.json.decode(text, type=form)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise BadRequest("The browser's answer about the passkey cannot be read.", param="passkey") from error


async def warranted(house: House, visitor: Visitor, asked: Fields, duty: Duty) -> Warrant:
    """Why, and the visitor and a second person who have both just proved it. Raises Unproved and InvalidRecord."""
    reason = asked.text("reason", 2000).strip()
    if not reason:
        raise BadRequest("say why: the reason is recorded", param="reason")
    passwords = iter((asked.text("password"), asked.text("approver_password")))
    requests = Asked(visitor.person.on_record, duty.asks)
    approves = Asked(asked.text("approver").strip(), duty.agrees)
    prover = house.directory.prover
    proof = partial(prove_two, prover, lambda question: next(passwords), requests, approves, visitor.tenant)
    two = await in_turn(Line.PEOPLE, proof)
    return Warrant(reason, two.requested_by.on_record, two.approved_by.on_record)
