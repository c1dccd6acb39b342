"""The real writer and a real projector over one database, for tests that are not coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg

import policies
from audit.keys import KeyStore
from audit.lifecycle import Lifecycle, Warrant
from audit.writer import Entry, Writer
from gateway.approvals.attachments import Attachments
from gateway.database import Urls
from gateway.projections.folding import Told
from gateway.projections.paging import Page
from gateway.projections.projector import Projector
from gateway.projections.tables import ApprovalRow, DayRow, GenerationRow, LookRow
from gateway.projections.views import Views
from gateway.settings import DatabaseUrl
from tests.audit.writer_samples import Place
from tests.gateway.planted import plant_tenant
from tests.gateway.projections.histories import Request
from tests.postgres_fixtures import Database

T = TypeVar("T")
TWO = Warrant("asked to", "ada", "grace")
TABLES = {table.__tablename__: table for table in (GenerationRow, ApprovalRow, DayRow, LookRow)}


@dataclass
class Following:
    """Logs, and the tables made of them."""

    database: Database
    keys: Path
    runner: asyncio.Runner
    writer: Writer
    projector: Projector
    views: Views
    lifecycle: Lifecycle
    _numbers: Iterator[int] = field(default_factory=count)

    def tenant(self) -> str:
        """A tenant with an empty log."""
        name = f"t{next(self._numbers)}"
        plant_tenant(self.database.app_url, name)
        return name

    def another(self) -> Projector:
        """The follower of another process."""
        return projector(self.database, self.keys)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """In the loop of the writer."""
        return self.runner.run(work)

    def append(self, entries: Sequence[Entry]) -> int:
        """Put records into the log; the seq of the first."""
        return self.run(self.writer.append(entries)).first_seq

    def erase(self, tenant: str, caller: str) -> tuple[str, ...]:
        """Make unreadable what is sealed for a caller."""
        return self.run(self.lifecycle.erase(tenant, caller, TWO)).key_ids

    def had(self, tenant: str, name: str, mode: str = "diffusion", caller: str = "key-1") -> Request:
        """A request that went through a whole script."""
        request = Request(name, mode, caller)
        self.append(request.rest(tenant))
        return request

    def claim(self, tenant: str, key: bytes, request: UUID) -> None:
        """The request answers whoever asks the same, which is known by a keyed hash."""
        with closing(Attachments(DatabaseUrl(self.database.app_url), uuid4())) as table:
            assert table.claim(tenant, [key], request).generation == request

    def claims(self, tenant: str) -> set[UUID]:
        """The requests that still answer whoever asks the same."""
        with psycopg.connect(self.database.app_url) as connection:
            found = connection.execute("SELECT generation FROM app.attachment WHERE tenant = %s", (tenant,)).fetchall()
        return {request for (request,) in found}

    def rows(self, tenant: str) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of a tenant, table by table, in an order of their own."""
        with psycopg.connect(self.database.app_url) as connection:
            return {
                name: connection.execute(
                    f"SELECT * FROM app.{name} WHERE tenant = %s ORDER BY 1, 2, 3, 4", (tenant,)
                ).fetchall()
                for name in TABLES
            }

    def told(self, tenant: str) -> list[Told]:
        """All requests of a tenant, by the tables, newest first."""
        found, page = list[Told](), self.views.search.generations(tenant)
        found += page.rows
        while page.next is not None:
            page = self.views.search.generations(tenant, page=Page(after=page.next))
            found += page.rows
        return found

    def states(self, tenant: str) -> dict[UUID, str]:
        """Where every request stands, by the tables."""
        with psycopg.connect(self.database.app_url) as connection:
            found = connection.execute("SELECT id, state FROM app.generation WHERE tenant = %s", (tenant,)).fetchall()
        return dict(found)


def projector(database: Database, keys: Path) -> Projector:
    """A follower over a database, closed by whoever asked."""
    urls = Urls(DatabaseUrl(database.app_url), DatabaseUrl(database.reader_url))
    return Projector(urls, KeyStore(keys), policies.load(policies.BASELINE))


@contextmanager
def following(database: Database, folder: Path) -> Iterator[Following]:
    """All of it, closed on the way out."""
    keys = folder / "keys"
    place = Place(database, keys)
    views = Views(DatabaseUrl(database.app_url), KeyStore(keys))
    with asyncio.Runner() as runner:
        writer, own = place.writer(), projector(database, keys)
        runner.run(writer.start([]))
        try:
            yield Following(database, keys, runner, writer, own, views, place.lifecycle(writer))
        finally:
            runner.run(writer.close())
            own.close()
            views.close()
