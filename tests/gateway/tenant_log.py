"""The log of one tenant, for tests of the gateway: opened requests, decrypted records, and the verifier's word."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from uuid import UUID

import psycopg

from audit.header import decode_header
from audit.keys import KeyStore
from audit.records import BlockTrace, Body, DecodeRun, Kind, PolicyDecision, PromptBody, RequestOpen, SpecRounds
from audit.rows import Unfinished
from audit.store import read_tenant
from audit.verify import Report, verify
from audit.writer import Entry, Range, Writer
from engine.request import GenerationRequest
from engine.tokenizer import Tokenizer
from gateway.recorded import bodies_of
from tests.audit.samples import SAMPLES
from tests.audit.writer_samples import TENANT, Place
from tests.postgres_fixtures import Database

CALLER = "key-1"
POLICY = bytes(32)
WEIGHTS = bytes(range(32))
_LOCKS = "FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = %s)"


class TenantLog(Place):
    """The log of `acme`, request by request."""

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
        """The offline verifier's word on a whole, disclosed export."""
        vkey, origin = self.export(out)
        return verify(out, [vkey], origin)


def entry(request: UUID, body: Body, tenant: str = TENANT) -> Entry:
    """One record of a request."""
    return Entry(tenant, request, CALLER, POLICY, body)


async def opened(
    writer: Writer, request: GenerationRequest, instance: UUID, release: str = "stream", policy: bytes = POLICY
) -> Range:
    """Record the three records that open a permitted request, which `instance` serves."""
    bodies = (_open(request, instance), PromptBody("[]", request.prompt), _permission(request, release, policy))
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


def text_of(bodies: Iterable[Body], words: Tokenizer) -> str:
    """The text that these records explain."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(words.decode_bytes(output_ids(bodies)), final=True)


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
    sample = SAMPLES[Kind.REQUEST_OPEN]
    assert isinstance(sample, RequestOpen)
    constraint = request.constraint
    return replace(
        sample,
        caller=CALLER,
        weights_digest=WEIGHTS,
        numeric="strict",
        mode=request.mode.value,
        modes_permitted=tuple(sorted(mode.value for mode in request.modes_permitted)),
        block_length=request.block_length,
        threshold=request.threshold,
        max_steps=request.max_steps,
        seed_first=request.seed_first,
        max_tokens=request.max_tokens,
        prompt_tokens=len(request.prompt),
        instance=instance,
        top_logprobs=request.top_logprobs,
        think_budget=request.think_budget,
        stop_strings=request.stop_strings,
        stop_ids=tuple(sorted(request.stop_ids)),
        constraint_kind="" if constraint is None else constraint.kind.value,
        constraint_source="" if constraint is None else constraint.source,
        gated=request.gate is not None,
        **asdict(request.sampling),
    )


def _permission(request: GenerationRequest, release: str, policy: bytes) -> PolicyDecision:
    sample = SAMPLES[Kind.POLICY_DECISION]
    assert isinstance(sample, PolicyDecision)
    mode = request.mode.value
    return replace(sample, mode=mode, modes_permitted=(mode,), release=release, policy_digest=policy)
