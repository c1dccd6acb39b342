"""Held answers in a real log, and people who decide about them through the real service; no engine, no HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from uuid import UUID

import policies
from audit.approvals import ApprovalOpened
from audit.header import uuid7
from audit.judgements import Due, ReleaseDecision
from audit.keys import KeyStore
from audit.records import DecodeRun, Delivery, Kind, PolicyDecision, PromptBody, RequestClose, RequestOpen
from audit.writer import Entry, Writer
from engine.tokenizer import Tokenizer
from gateway.approvals.approvals import Approvals, no_projections
from gateway.approvals.case import Case
from gateway.approvals.desk import Look, Served
from gateway.approvals.opening import HeldAnswer, Openings
from gateway.database import Urls
from gateway.law.hearing import Law
from gateway.law.lawbook import Lawbook, Standing
from gateway.people.directory import Directory
from gateway.people.names import Role
from gateway.people.person import Person
from gateway.settings import DatabaseUrl
from tests.audit.samples import SAMPLES
from tests.audit.writer_samples import TENANT
from tests.engine.small import TINY
from tests.gateway.planted import CHEAP, PASSWORD, plant_tenant, plant_user
from tests.gateway.tenant_log import TenantLog
from tests.policies.documents import allowed, policy
from tests.postgres_fixtures import Database

TEXT = "def held(): ...\n"
KEY = "key-1"
WEIGHTS = hashlib.sha256(b"weights").digest()
TWO_LEADS = policy('[approvals.default]\nquorum = 2\ngroups = ["leads"]\nedit_allowed = true\n')
FINANCE = policy('[approvals.default]\nquorum = 1\ngroups = ["finance"]\n')
ONE = policy("[approvals.default]\nquorum = 1\n")
BRIEF = policy("[approvals.default]\nexpires_seconds = 1\nhold_seconds = 1\n")
LENIENT = policy('[approvals.default]\nexpires_seconds = 1\nhold_seconds = 1\non_expire = "release"\n')
TESTED = policy("[approvals.default]\ntest_result_required = true\n")
_STAFF: dict[str, tuple[tuple[Role, ...], tuple[str, ...]]] = {
    "ada": ((Role.APPROVER,), ("leads",)), "grace": ((Role.APPROVER,), ("leads",)), "kay": ((Role.APPROVER,), ("leads",)),
    "alan": ((Role.APPROVER,), ()), "linus": ((Role.APPROVER, Role.CALLER), ("leads",)), "olga": ((Role.OPERATOR,), ()),
    "ruth": ((Role.APPROVER,), ("finance", "legal")), "paul": ((Role.POLICY_ADMIN,), ("leads",)),
}  # fmt: skip


@lru_cache(maxsize=1)
def words() -> Tokenizer:
    """The tokenizer of the trained checkpoint."""
    return Tokenizer.load(TINY)


@dataclass(frozen=True, slots=True)
class Bureau:
    """One process's service over a log. `laws` may be replaced: then another policy is in force."""

    log: TenantLog
    writer: Writer
    laws: Lawbook
    approvals: Approvals
    people: dict[str, Person]
    weights: bytes

    async def held(
        self, text: str = TEXT, due: tuple[str, ...] = ("default",), contributors: tuple[str, ...] = ("linus",)
    ) -> UUID:
        """A closed request whose answer is held under the policy in force, its approval begun."""
        law = self.laws.active(TENANT)
        generation = uuid7()
        ids = tuple(words().encode(text))
        opening, decision, close = (SAMPLES[kind] for kind in (Kind.REQUEST_OPEN, Kind.POLICY_DECISION, Kind.REQUEST_CLOSE))
        verdict = SAMPLES[Kind.RELEASE_DECISION]
        assert isinstance(opening, RequestOpen) and isinstance(decision, PolicyDecision)
        assert isinstance(close, RequestClose) and isinstance(verdict, ReleaseDecision)
        digest = bytes(law.digest)

        def entry(body: object) -> Entry:
            return Entry(TENANT, generation, KEY, digest, body)  # type: ignore[arg-type]

        begun = [
            replace(opening, caller=KEY, weights_digest=self.weights, stop_strings=(), prompt_tokens=2),
            PromptBody("[]", (1, 2)),
            replace(decision, policy_digest=digest), DecodeRun(2, ids, (-0.5,) * len(ids), len(ids)),
        ]  # fmt: skip
        place = await self.writer.append([entry(body) for body in begun])
        dues = tuple(Due(name, ("rule:eyes",)) for name in due)
        answer = HeldAnswer(TENANT, generation, KEY, contributors, Law(law, allowed(law)), dues, text, place.last_seq)
        opened = await Openings(self._reader, self.weights).first(answer)
        counted = hashlib.sha256(b"".join(token.to_bytes(4, "big") for token in ids)).digest()
        ended = replace(
            close, prompt_tokens=2, tokens=len(ids), blocks=0, steps=0, rounds=0, forwards=len(ids), output_digest=counted,
            records=7,
        )  # fmt: skip
        nothing = Delivery(0, hashlib.sha256(b"").digest(), "withheld")
        await self.writer.append([entry(body) for body in (replace(verdict, due=dues), nothing, ended, opened)])
        return generation

    async def case(self, generation: UUID) -> Case:
        """How it stands; the test fails where there is none."""
        found = await self.approvals.find(TENANT, generation)
        assert found is not None
        return found

    async def opened(self, generation: UUID) -> ApprovalOpened:
        """The cycle that is open."""
        return (await self.case(generation)).opened

    def enact(self, law: policies.Policy) -> None:
        """This policy is in force from now on."""
        self.laws.replace({TENANT: Standing(law)})

    @property
    def _reader(self) -> DatabaseUrl:
        return DatabaseUrl(self.log.database.reader_url)


def staff(database: Database) -> dict[str, Person]:
    """The people of `acme`, each proved by a password; one more of `system`, and one of another tenant."""
    found: dict[str, Person] = {}
    directory = Directory(DatabaseUrl(database.app_url), CHEAP)
    homes = {**dict.fromkeys(_STAFF, TENANT), "root": "system", "eve": "other"}
    for name, home in homes.items():
        roles, groups = _STAFF.get(name, ((Role.APPROVER,), ("leads",)))
        if home != "system":
            plant_tenant(database.app_url, home)
        plant_user(database.app_url, home, name, *roles, groups=groups)
        person = directory.prover.prove(home, name, PASSWORD)
        assert isinstance(person, Person)
        found[name] = person
    directory.close()
    return found


@asynccontextmanager
async def bureau(database: Database, home: Path, law: policies.Policy = TWO_LEADS) -> AsyncIterator[Bureau]:
    """A bureau under a policy, with its people."""
    async with beside(TenantLog(database, home / "keys"), law, staff(database)) as made:
        yield made


@asynccontextmanager
async def beside(
    log: TenantLog, law: policies.Policy, people: dict[str, Person], weights: bytes = WEIGHTS, look: Look = no_projections
) -> AsyncIterator[Bureau]:
    """The service of one more process on the same log."""
    laws = Lawbook(law)
    urls = Urls(DatabaseUrl(log.database.app_url), DatabaseUrl(log.database.reader_url))
    async with log.writing(TENANT) as writer:
        approvals = Approvals(writer, urls, KeyStore(log.keys), laws, Served(weights, words().decode_bytes), look)
        try:
            yield Bureau(log, writer, laws, approvals, people, weights)
        finally:
            approvals.close()
