"""A database with tenant acme, a log beside it, and the administration of both in the test's own loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from audit.acts import Act
from audit.header import decode_header
from audit.keys import KeyStore
from audit.sealer import open_body
from audit.store import read_tenant
from audit.writer import SYSTEM
from gateway.administration import Administration, Decide
from gateway.changes import Change
from gateway.database import Urls
from gateway.on_record import writing
from gateway.people.directory import Directory
from gateway.people.person import Account, Actor, Person
from gateway.registry import Registry
from gateway.settings import DatabaseUrl, Settings
from tests.gateway.planted import CHEAP, PASSWORD
from tests.postgres_fixtures import Database

ME = Account("account root")


@dataclass(frozen=True, slots=True)
class Office:
    """Everything that makes, proves and shows people and keys, for one test."""

    database: Database
    settings: Settings
    administration: Administration
    directory: Directory
    registry: Registry

    async def make(self, decide: Decide, by: Actor = ME, tenant: str = "acme") -> Change | None:
        """One change on record."""
        return await self.administration.make(tenant, by, decide)

    def prove(self, name: str, password: str = PASSWORD, tenant: str = "acme") -> Person:
        """The person; the test fails if it is none."""
        found = self.directory.prover.prove(tenant, name, password)
        assert isinstance(found, Person)
        return found

    def acts(self, tenant: str = "acme") -> list[Act]:
        """What the log says was done, in its order."""
        return acts_of(self.database, self.settings, tenant)

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        """As an intruder, or as time that has passed."""
        with psycopg.connect(self.database.superuser_url) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


def acts_of(database: Database, settings: Settings, tenant: str) -> list[Act]:
    """The administrative acts in a tenant's log."""
    keys, found = KeyStore(settings.keys), []
    with read_tenant(database.reader_url, tenant) as reader:
        for row in reader.acts():
            act = open_body(keys, decode_header(row.header), row.body or b"")
            assert isinstance(act, Act)
            found.append(act)
    return found


def urls_of(database: Database) -> Urls:
    """The two logins of a gateway."""
    return Urls(DatabaseUrl(database.app_url), DatabaseUrl(database.reader_url))


@asynccontextmanager
async def opened(database: Database, home: Path) -> AsyncIterator[Office]:
    """The office of a database; a second one beside it is another process's."""
    settings, urls = Settings.read({"PALIMPSEST_HOME": str(home)}), urls_of(database)
    directory, registry = Directory(urls.app, CHEAP), Registry(urls.app)
    try:
        async with writing(settings, urls, SYSTEM) as writer:
            yield Office(database, settings, Administration(writer, urls, settings.keys), directory, registry)
    finally:
        directory.close()
        registry.close()
