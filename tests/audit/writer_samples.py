"""A writer on a real database, small notes to append, and what its log then holds."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from audit.__main__ import main
from audit.export import disclose_all, export
from audit.header import Header, StoredRecord, decode_header, leaf_hash, uuid7
from audit.keys import KeyStore, MonthKey
from audit.ledger import body_digest, log_origin
from audit.lifecycle import Lifecycle
from audit.note import Checkpoint, decode_vkey, open_checkpoint
from audit.records import SCHEMA, EngineNote, encode_body, kind_of
from audit.rows import Numbered
from audit.sealer import open_body
from audit.sealing import request_key, seal
from audit.signer import Signer
from audit.standing import DAY
from audit.store import AppendConnection, read_tenant
from audit.writer import Entry, Writer, WriterConfig
from tests.postgres_fixtures import Database

TENANT = "acme"
ORIGIN = "palimpsest.test"


def entry(text: str, tenant: str = TENANT, **changes: Any) -> Entry:
    """A record that says `text`."""
    fields = {"request": None, "actor": "key-1", "policy": None, "body": EngineNote("said", text)}
    return Entry(tenant=tenant, **{**fields, **changes})


@dataclass(frozen=True, slots=True)
class Place:
    """Where logs lie and how they are signed: the database, the folder of the keys, the installation's origin."""

    database: Database
    keys: Path
    origin: str = ORIGIN

    def writer(self, **changes: Any) -> Writer:
        """A writer that has not started; `changes` are fields of WriterConfig."""
        fields = {
            "app_url": self.database.app_url, "reader_url": self.database.reader_url, "keys": self.keys,
            "origin": self.origin, "stall_seconds": 20.0,
        }  # fmt: skip
        return Writer(WriterConfig(**{**fields, **changes}))

    @asynccontextmanager
    async def writing(self, *tenants: str, **changes: Any) -> AsyncIterator[Writer]:
        """A writer that has started, with the logs of `tenants` open, and is closed on the way out."""
        writer = self.writer(**changes)
        await writer.start(tenants)
        try:
            yield writer
        finally:
            await writer.close()

    def lifecycle(self, writer: Writer) -> Lifecycle:
        """Erasure, holds and retention on these logs."""
        return Lifecycle(writer, self.database.app_url, self.database.reader_url, self.keys)

    async def aged(self, count: int, days: int, subject: str = "key-1", tenant: str = TENANT) -> None:
        """Give an empty log `count` notes of so many days ago, sealed as they would have been then."""
        ts = time.time_ns() // 1000 - days * DAY
        month = KeyStore(self.keys).month_key(tenant, subject, ts)
        records = [_old(tenant, seq, ts + seq, month, f"old {seq}") for seq in range(count)]
        connection = await AppendConnection.open(self.database.app_url)
        await connection.append(tenant, uuid4(), records)
        await connection.close()

    def said(self, tenant: str = TENANT) -> list[str]:
        """What the stored records say, in order of seq, which is dense; read as gov_reader and decrypted."""
        with read_tenant(self.database.reader_url, tenant) as reader:
            rows = list(reader.records())
        store = KeyStore(self.keys)
        return [_said(row, tenant, seq, store) for seq, row in enumerate(rows)]

    def checkpoints(self, tenant: str = TENANT) -> list[Checkpoint]:
        """The recorded checkpoints, each of which must verify."""
        origin = log_origin(self.origin, tenant)
        key = decode_vkey(Signer(self.keys, origin).vkey)
        with read_tenant(self.database.reader_url, tenant) as reader:
            return [open_checkpoint(note, [key], origin) for note in reader.checkpoints()]

    def covered(self, tenant: str = TENANT) -> int:
        """How many records the newest checkpoint covers."""
        return max((checkpoint.size for checkpoint in self.checkpoints(tenant)), default=0)

    def filed(self, tenant: str = TENANT) -> list[int]:
        """The sizes of the checkpoints in the file beside the keys."""
        (path,) = (self.keys / "checkpoints").glob(f"*{tenant}.jsonl")
        return [int(json.loads(line).split("\n")[1]) for line in path.read_text().splitlines()]

    def verdict(self, tenant: str = TENANT) -> int:
        """The exit status of `python -m audit verify` for an export of the log with every body disclosed."""
        out = self.keys.parent / f"export-{tenant}"
        vkey, origin = self.export(out, tenant)
        return main(["verify", str(out), "--vkey", vkey, "--origin", origin])

    def export(self, out: Path, tenant: str = TENANT) -> tuple[str, str]:
        """Write the whole log with every body disclosed; the key and the name that it verifies under."""
        origin = log_origin(self.origin, tenant)
        with read_tenant(self.database.reader_url, tenant) as reader:
            export(
                out, origin=origin, tenant=tenant, records=reader.records(), checkpoints=reader.checkpoints(),
                disclose=disclose_all(KeyStore(self.keys)),
            )  # fmt: skip
        return Signer(self.keys, origin).vkey, origin

    def ask(self, statement: str, *values: object) -> Any:
        """The one value that a statement of the superuser returns."""
        with psycopg.connect(self.database.superuser_url) as connection:
            row = connection.execute(statement, values).fetchone()
        assert row is not None
        return row[0]

    @contextmanager
    def held(self, tenant: str = TENANT) -> Iterator[None]:
        """Hold the lock on the head of a log, so that no append to it can commit."""
        with psycopg.connect(self.database.superuser_url) as connection:
            connection.execute("INSERT INTO audit.head VALUES (%s, 0, 0) ON CONFLICT DO NOTHING", (tenant,))
            connection.execute("SELECT FROM audit.head WHERE tenant = %s FOR UPDATE", (tenant,))
            yield

    def waiting(self) -> bool:
        """Whether the writer's session waits for a lock."""
        found = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = %s AND wait_event_type = 'Lock'"
        )
        return bool(self.ask(found, self.database.name, "palimpsest writer"))

    def restore(self, size: int, tenant: str = TENANT) -> None:
        """Take the log back to an older state, as a restored backup would: the superuser can."""
        with psycopg.connect(self.database.superuser_url) as connection:
            connection.execute("SET session_replication_role = replica")
            for table in ("header", "body"):
                connection.execute(f"DELETE FROM audit.{table} WHERE tenant = %s AND seq >= %s", (tenant, size))
            connection.execute("DELETE FROM audit.batch WHERE tenant = %s AND first_seq >= %s", (tenant, size))
            connection.execute("DELETE FROM audit.checkpoint WHERE tenant = %s AND size > %s", (tenant, size))
            connection.execute("UPDATE audit.head SET next_seq = %s WHERE tenant = %s", (size, tenant))


def _old(tenant: str, seq: int, ts: int, month: MonthKey, text: str) -> Numbered:
    body, record = EngineNote("said", text), uuid7(ts)
    sealed = seal(request_key(month.secret, record), tenant, record, encode_body(body))
    kind, digest = kind_of(body), body_digest(sealed)
    header = Header(tenant, seq, ts, record, None, kind, SCHEMA, "key-1", None, month.key_id, len(sealed), digest)
    raw = header.encode()
    return Numbered(seq, ts, None, kind, raw, leaf_hash(raw), sealed)


def _said(row: StoredRecord, tenant: str, seq: int, store: KeyStore) -> str:
    header = decode_header(row.header)
    assert header.seq == seq
    assert row.body is not None
    body = open_body(store, header, row.body)
    assert isinstance(body, EngineNote)
    return body.detail


@contextmanager
def impatient(writer: Writer, seconds: float) -> Iterator[None]:
    """In the block a stall is over so soon; before and after it, what takes a while on a busy machine is no stall."""
    patient = writer._config
    writer._config = replace(patient, stall_seconds=seconds)
    try:
        yield
    finally:
        writer._config = patient


@contextmanager
def blocked(folder: Path) -> Iterator[None]:
    """Put a file where the folder was, as a mount that went away would."""
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.touch()
    yield
    folder.unlink()
    aside.rename(folder)
