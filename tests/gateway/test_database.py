"""Opening the database: a schema that changes under a log is on record in the log of `system`."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from audit.acts import Access, SchemaChange
from audit.header import decode_header
from audit.keys import KeyStore
from audit.records import Body
from audit.sealer import open_body
from audit.store import read_tenant
from audit.writer import SYSTEM
from gateway.account import account
from gateway.database import open_database
from gateway.on_record import put_on_record
from gateway.settings import Settings, sqlalchemy_url
from migrations.catalog import AUDIT
from migrations.run import newest_revision, upgrade
from tests.audit.writer_samples import TENANT, Place, entry
from tests.postgres_fixtures import Database

EARLIER = "0003"
LATER = newest_revision()


@pytest.fixture
def earlier(database: Database) -> Iterator[Database]:
    """A database of an earlier release, without a record."""
    made = Database(database.server, f"t{uuid.uuid4().hex}")
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {made.name}")
        upgrade(made.superuser_url, EARLIER)
        yield made
        connection.execute(f"DROP DATABASE {made.name} WITH (FORCE)")


def settings_for(database: Database, home: Path) -> Settings:
    """An installation over a database whose owner's login it has."""
    given = {"HOME": str(home), "DATABASE_URL": database.app_url, "READER_URL": database.reader_url}
    given["OWNER_URL"] = database.superuser_url
    return Settings.read({f"PALIMPSEST_{name}": value for name, value in given.items()})


def record_one(settings: Settings, database: Database) -> None:
    """Give the tenant's log a record."""

    async def append() -> None:
        async with Place(database, settings.keys, settings.origin).writing() as writer:
            await writer.append([entry("before")])

    asyncio.run(append())


def acts(settings: Settings, database: Database) -> list[Body]:
    """The acts in the log of `system`."""
    store = KeyStore(settings.keys)
    with read_tenant(database.reader_url, SYSTEM) as reader:
        rows = [(decode_header(row.header), row.body or b"") for row in reader.acts()]
    return [open_body(store, header, body) for header, body in rows]


def test_a_schema_that_changes_under_a_log_is_on_record(earlier: Database, tmp_path: Path) -> None:
    """Who migrated, to which revision and from which catalog to which stands in `system`, once and under a checkpoint."""
    settings = settings_for(earlier, tmp_path)
    record_one(settings, earlier)
    for _ in range(2):
        with open_database(settings):
            pass
    (told,) = acts(settings, earlier)
    assert isinstance(told, SchemaChange)
    assert (told.revision, told.after.hex()) == (LATER, AUDIT)
    assert told.before is not None and told.requested_by == f"{account()} as postgres"
    with read_tenant(earlier.reader_url, SYSTEM) as reader:
        assert reader.newest_checkpoint() is not None


def test_a_database_without_records_has_nothing_to_tell(earlier: Database, tmp_path: Path) -> None:
    """A migration before the first record changes nothing that anybody relied on."""
    settings = settings_for(earlier, tmp_path)
    with open_database(settings):
        pass
    assert acts(settings, earlier) == []
    assert not settings.keys.exists() or not any(settings.keys.rglob("*.jsonl"))


def test_a_log_that_takes_no_record_can_still_be_opened(earlier: Database, tmp_path: Path) -> None:
    """When `system` cannot be written the database is open all the same, and whoever opened it hears what is missing."""
    settings, heard = settings_for(earlier, tmp_path), list[str]()
    place = Place(earlier, settings.keys, settings.origin)
    record_one(settings, earlier)
    (settings.keys / "signers" / f"{settings.origin}%2F{SYSTEM}").mkdir()
    (settings.keys / "signers" / f"{settings.origin}%2F{SYSTEM}" / "state.json").write_text("{}")
    with open_database(settings, heard.append) as urls:
        assert urls.reader.startswith(earlier.reader_url) and place.said(TENANT) == ["before"]
    assert [LATER in line and "warning" in line for line in heard] == [True]


def test_as_whom_the_database_runs_is_not_said_by_every_command(tmp_path: Path) -> None:
    """Root hears of the server's account when the cluster is made, and later only where it is asked for, as `serve` does."""
    settings, heard = Settings.read({"PALIMPSEST_HOME": str(tmp_path)}), list[str]()
    for remind in (False, False, True):
        with open_database(settings, heard.append, remind=remind):
            heard.append("open")
    told = [line if line == "open" else line.partition(":")[0] for line in heard]
    notice = ["running as root"] if os.geteuid() == 0 else []
    assert told == [*notice, "open", "open", *notice, "open"]


def test_times_are_utc_and_iso_whatever_the_server_prefers(database: Database, tmp_path: Path) -> None:
    """No session takes the zone or the style of the server's administrator, also where it has options of its own."""
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database.name} SET timezone = 'America/New_York'")
        connection.execute(f"ALTER DATABASE {database.name} SET datestyle = 'SQL, DMY'")
    moment = "SELECT timestamptz '2026-11-30 12:00:00Z' || ' ' || current_setting('lock_timeout')"
    with open_database(settings_for(database, tmp_path)) as urls:
        with psycopg.connect(urls.reader) as reader:
            assert reader.execute(moment).fetchone() == ("2026-11-30 12:00:00+00 0",)
        with create_engine(sqlalchemy_url(urls.app, "-c lock_timeout=3s"), poolclass=NullPool).connect() as patient:
            assert patient.scalar(text(moment)) == "2026-11-30 12:00:00+00 3s"


def test_a_log_is_signed_whatever_encoding_the_server_prefers(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint has a dash that Latin-1 has not: neither a database's setting nor the environment's keeps it from us."""
    settings = settings_for(database, tmp_path)
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database.name} SET client_encoding = 'LATIN1'")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with open_database(settings) as urls:
        put_on_record(settings, urls, SYSTEM, Access(None, 0, 0, "why", "ada"))
        with read_tenant(urls.reader, SYSTEM) as reader:
            assert "\u2014" in (reader.newest_checkpoint() or "")
