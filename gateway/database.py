"""The database a command works with: the embedded PostgreSQL, or one that somebody else runs, at the newest schema.

with open_database(settings) as urls: ...        # urls.app to serve, urls.reader to read the log
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from gateway import postgres
from gateway.settings import DatabaseUrl, ExternalDatabase, Settings, SettingsError, sqlalchemy_url
from migrations.catalog import require_intact
from migrations.run import current_revision, newest_revision, upgrade


@dataclass(frozen=True, slots=True)
class Urls:
    """Logins of the two roles that serve."""

    app: DatabaseUrl = field(repr=False)
    reader: DatabaseUrl = field(repr=False)


@contextmanager
def open_database(settings: Settings, tell: Callable[[str], None] = lambda _: None) -> Iterator[Urls]:
    """Start or reach the database and bring its schema up to date; `tell` gets lines a person should see.

    Raises PostgresError, MigrationError or SettingsError, each saying what to do.
    """
    if settings.database is not None:
        yield _external(settings.database)
        return
    with postgres.running(settings.home) as server:
        if server.place.notice is not None:
            tell(server.place.notice)
        upgrade(server.owner_url)
        yield Urls(server.app_url, server.reader_url)


def _external(database: ExternalDatabase) -> Urls:
    if database.owner is not None:
        upgrade(database.owner)
        return Urls(database.app, database.reader)
    engine = create_engine(sqlalchemy_url(database.app), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            found = current_revision(connection)
    finally:
        engine.dispose()
    if found != newest_revision():
        raise SettingsError(
            f"the database is at schema {found}, this release needs {newest_revision()}: "
            "set PALIMPSEST_OWNER_URL once, so that the migrations can run"
        )
    require_intact(database.app)
    return Urls(database.app, database.reader)
