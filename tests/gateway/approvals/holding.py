"""A house whose law holds every answer, and the people who decide about them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

import policies
from audit.header import decode_header
from audit.keys import KeyStore
from audit.records import Body, Kind
from audit.store import read_tenant
from gateway.approvals.case import Case, State
from gateway.approvals.choices import Approve, Reject
from gateway.people.directory import Directory
from gateway.people.names import Role
from gateway.people.person import Person
from gateway.recorded import opened
from gateway.settings import DatabaseUrl
from tests.audit.writer_samples import TENANT
from tests.gateway.housed import Housed, housed
from tests.gateway.law.test_matrix import Dialect
from tests.gateway.planted import CHEAP, PASSWORD, plant_user
from tests.policies.documents import policy
from tests.postgres_fixtures import Database

RULE = '[[rules]]\nid = "all"\nphase = "admit"\naction = "hold"\napproval = "people"\n'
WORDS = "Not without the tests, please."


def law(hold_seconds: int = 30, expires_seconds: int = 3600, more: str = "") -> policies.Policy:
    """Every answer is held, for one person; `more` are further terms of the approval."""
    terms = f"hold_seconds = {hold_seconds}\nexpires_seconds = {expires_seconds}\n"
    return policy(RULE + "[approvals.people]\n" + terms + more)


@dataclass(frozen=True, slots=True)
class Holding:
    """The house, and somebody who may decide."""

    inside: Housed
    person: Person

    async def send(self, row: Dialect, question: str, *, stream: bool, key: str | None = None, **more: Any) -> httpx.Response:
        """One request of a dialect."""
        body = row.body(self.inside.house.intake.model.name, "linear_spec", stream)
        body[row.prompt] = [{"role": "user", "content": question}]
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return await self.inside.client.post(row.path, json=body | more, headers=headers)

    async def pending(self) -> UUID:
        """The one generation that waits for people, as soon as there is one."""
        async with asyncio.timeout(20):
            while True:
                for generation in generations(self.inside):
                    case = await self.inside.house.approvals.find(TENANT, generation)
                    if case is not None and case.state is State.PENDING:
                        return generation
                await asyncio.sleep(0.02)

    async def approve(self, generation: UUID) -> Case:
        """The person agrees to exactly what there is."""
        return await self._decide(generation, Approve)

    async def reject(self, generation: UUID, words: str = WORDS) -> Case:
        """The person says no, in these words."""
        return await self._decide(generation, lambda sha: Reject(sha, "unsafe", words))

    async def _decide(self, generation: UUID, choice: Any) -> Case:
        approvals = self.inside.house.approvals
        case = await approvals.find(TENANT, generation)
        assert case is not None
        decided = await approvals.decide(TENANT, generation, choice(case.content_sha256), self.person)
        assert isinstance(decided, Case), decided
        return decided


@asynccontextmanager
async def holding(
    database: Database, home: Path, of: policies.Policy | None = None, base_url: str = "", host: str = ""
) -> AsyncIterator[Holding]:
    """A house under a law that holds, with an approver; a second one beside it is another process's."""
    async with housed(database, home, of or law(), base_url=base_url, host=host) as inside:
        yield Holding(inside, approver(database))


def approver(database: Database, name: str = "grace") -> Person:
    """An approver, proved by a password."""
    directory = Directory(DatabaseUrl(database.app_url), CHEAP)
    try:
        if name not in {user.name for user in directory.users(TENANT)}:
            plant_user(database.app_url, TENANT, name, Role.APPROVER)
        person = directory.prover.prove(TENANT, name, PASSWORD)
        assert isinstance(person, Person)
        return person
    finally:
        directory.close()


def records_of(inside: Housed, kind: Kind) -> list[tuple[UUID | None, Body]]:
    """All records of a kind in the tenant's log, each with its request."""
    keys, found = KeyStore(inside.log.keys), list[tuple[UUID | None, Body]]()
    with read_tenant(inside.log.database.reader_url, TENANT) as reader:
        for stored in reader.records(0, reader.size()):
            header = decode_header(stored.header)
            body = opened(keys, header, stored.body) if header.kind == kind else None
            if body is not None:
                found.append((header.request, body))
    return found


def generations(inside: Housed) -> list[UUID]:
    """The generations whose answers were held, oldest first; each once."""
    return list(dict.fromkeys(request for request, _ in records_of(inside, Kind.APPROVAL_OPENED) if request is not None))


def digest(text: str) -> bytes:
    """As people decide on it."""
    return hashlib.sha256(text.encode()).digest()
