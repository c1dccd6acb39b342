"""Signatures in place: a person proves again who it is, and a second one beside them where an act takes two."""

from __future__ import annotations

import asyncio
from typing import Final

from audit.errors import InvalidRecord
from audit.lifecycle import ActRefused, Warrant
from gateway.errors import BadRequest
from gateway.house import House
from gateway.people.duties import Duty
from gateway.people.names import Role
from gateway.people.person import Person
from gateway.people.two import Asked, prove_one, prove_two
from gateway.registry import RegistryError
from gateway.ui.forms import Fields
from gateway.ui.visitor import Visitor

REFUSALS: Final = (RegistryError, ActRefused, InvalidRecord, BadRequest)
"""What a form may be answered with where it stands, in words for people."""


async def signed(house: House, visitor: Visitor, asked: Fields, roles: frozenset[Role]) -> Person:
    """The visitor, who has one of the roles and has just given the password. Raises Unproved."""
    who = Asked(visitor.person.on_record, roles)
    prover, password = house.directory.prover, asked.text("password")
    return await asyncio.to_thread(prove_one, prover, lambda question: password, who, visitor.tenant)


async def warranted(house: House, visitor: Visitor, asked: Fields, duty: Duty) -> Warrant:
    """Why, and the visitor and a second person who have both just proved it. Raises Unproved and InvalidRecord."""
    reason = asked.text("reason", 2000).strip()
    if not reason:
        raise BadRequest("say why: the reason is recorded", param="reason")
    passwords = iter((asked.text("password"), asked.text("approver_password")))
    requests = Asked(visitor.person.on_record, duty.asks)
    approves = Asked(asked.text("approver").strip(), duty.agrees)
    prover = house.directory.prover
    two = await asyncio.to_thread(prove_two, prover, lambda question: next(passwords), requests, approves, visitor.tenant)
    return Warrant(reason, two.requested_by.on_record, two.approved_by.on_record)
