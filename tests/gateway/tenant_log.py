"""The log of one tenant, for tests below HTTP: real writers over a test's database, opened requests, decrypted records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg

from audit import export as bundle
from audit.header import decode_header
from audit.keys import KeyStore, Signer
from audit.ledger import log_origin
from audit.records import BlockTrace, Body, DecodeRun, PolicyDecision, PromptBody, RequestOpen, SpecRounds
from audit.store import Unfinished, read_tenant
from audit.verify import Report, verify
from audit.writer import Entry, Range, Writer, WriterConfig
from engine.request import GenerationRequest
from gateway.recorded import bodies_of
from tests.postgres_fixtures import Database

TENANT = "acme"
CALLER = "key-1"
POLICY = bytes(32)
ORIGIN = "test.palimpsest"
_LOCKS = "FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = %s)"


@dataclass(frozen=True, slots=True)
class TenantLog:
    """Where the log of `acme` and its keys are."""

    database: Database
    keys: Path

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[Writer]:
        """A started writer; on the way out everything is stored and signed."""
        writer = Writer(WriterConfig(self.database.app_url, self.database.reader_url, self.keys, ORIGIN))
        await writer.start()
        try:
            yield writer
        finally:
            await writer.close()

    def bodies(self, request: UUID) -> list[Body]:
        """All records of one request, decrypted, in the order of the log."""
        with read_tenant(self.database.reader_url, TENANT) as reader:
            return list(bodies_of(reader, KeyStore(self.keys), request))

    def last_seq(self, request: UUID) -> int:
        """The seq of the request's newest record."""
        with read_tenant(self.database.reader_url, TENANT) as reader:
            return [decode_header(stored.header).seq for stored in reader.request(request)][-1]

    def unfinished(self) -> list[Unfinished]:
        """Requests without an end."""
        with read_tenant(self.database.reader_url, TENANT) as reader:
            return reader.unfinished()

    def size(self) -> int:
        """How many records the log has."""
        with read_tenant(self.database.reader_url, TENANT) as reader:
            return reader.size()

    def verified(self, out: Path) -> Report:
        """The offline verifier's word on a whole, disclosed export; call it when the writers are closed."""
        origin = log_origin(ORIGIN, TENANT)
        shown = bundle.disclose_all(KeyStore(self.keys))
        with read_tenant(self.database.reader_url, TENANT) as reader:
            bundle.export(
                out,
                origin=origin,
                tenant=TENANT,
                records=reader.records(),
                checkpoints=reader.checkpoints(),
                disclose=shown,
            )
        return verify(out, [Signer(self.keys, origin).vkey], origin)


def entry(request: UUID, body: Body, tenant: str = TENANT) -> Entry:
    """One record of a request."""
    return Entry(tenant, request, CALLER, POLICY, body)


async def opened(writer: Writer, request: GenerationRequest, instance: UUID, release: str = "stream") -> Range:
    """Record what admission records of a permitted request that `instance` serves."""
    bodies = (_open(request, instance), PromptBody("[]", request.prompt), _permission(request, release))
    return await writer.append([entry(request.id, body) for body in bodies])


def output_ids(bodies: Iterable[Body]) -> tuple[int, ...]:
    """The answer's ids, from its records alone."""
    ids: list[int] = []
    for body in bodies:
        if isinstance(body, BlockTrace | DecodeRun):
            ids += body.output
        elif isinstance(body, SpecRounds):
            ids += [token for each in body.rounds for token in each.output]
    return tuple(ids)


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait until the condition holds; a TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)


def lock_sessions(database: Database) -> int:
    """How many sessions hold an advisory lock in this database, or wait for one."""
    with psycopg.connect(database.superuser_url) as connection:
        row = connection.execute(f"SELECT count(*) {_LOCKS}", (database.name,)).fetchone()
    assert row is not None
    return int(row[0])


def end_lock_sessions(database: Database) -> None:
    """The server ends every session that holds an advisory lock in this database, as if its process were killed."""
    with psycopg.connect(database.superuser_url) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid, 5000) {_LOCKS}", (database.name,))


def _open(request: GenerationRequest, instance: UUID) -> RequestOpen:
    return RequestOpen(
        caller=CALLER,
        workflow="",
        model="random",
        weights_digest=bytes(32),
        numeric="strict",
        dtype="float32",
        fingerprint="",
        mode=request.mode.value,
        modes_permitted=(request.mode.value,),
        block_length=request.block_length,
        threshold=request.threshold,
        max_steps=request.max_steps,
        seed_first=request.seed_first,
        temperature=request.sampling.temperature,
        seed=request.sampling.seed,
        choice=request.sampling.choice,
        max_tokens=request.max_tokens,
        prompt_tokens=len(request.prompt),
        instance=instance,
        dialect="openai.chat",
    )


def _permission(request: GenerationRequest, release: str) -> PolicyDecision:
    return PolicyDecision(
        outcome="allow",
        reason="",
        mode=request.mode.value,
        modes_permitted=(request.mode.value,),
        release=release,
        policy_digest=POLICY,
        rules=(),
        status=0,
    )
