"""The database a command works with: the embedded PostgreSQL, or one that somebody else runs, at the newest schema.

with open_database(settings) as urls: ...        # urls.app to serve, urls.reader to read the log
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from audit.errors import AuditError
from gateway import postgres
from gateway.on_record import record_migration
from gateway.settings import DatabaseUrl, ExternalDatabase, Settings, SettingsError, sqlalchemy_url
from migrations.catalog import require_intact
from migrations.run import current_revision, newest_revision, upgrade


@dataclass(frozen=True, slots=True)
class Urls:
    """Logins of the two roles that serve."""

    app: DatabaseUrl = field(repr=False)
    reader: DatabaseUrl = field(repr=False)


@contextmanager
def open_database(settings: Settings, tell: Callable[[str], None] = lambda _: None, *, remind: bool = False) -> Iterator[Urls]:
    """Start or reach the database and bring its schema up to date; `tell` gets lines a person should see.

    As whom the embedded server runs, if not as whoever starts it, is one of them when it is made, and each time with `remind`.
    Raises PostgresError, MigrationError or SettingsError, each saying what to do.
    """
    if settings.database is not None:
        yield _external(settings, settings.database, tell)
        return
    with postgres.running(settings.home) as server:
        if server.place.notice is not None and (remind or server.fresh):
            tell(server.place.notice)
        yield _migrated(settings, server.owner_url, Urls(server.app_url, server.reader_url), tell)


def _migrated(settings: Settings, owner_url: str, urls: Urls, tell: Callable[[str], None]) -> Urls:
    """The database at the newest schema; if logs were there already, that it is another schema now is on record."""
    done = upgrade(owner_url)
    if done is not None:
        try:
            record_migration(settings, urls, done)
        except AuditError as error:  # a log that takes no records must still be exported
            tell(f"warning: that the schema is now at {done.revision} could not be put on record: {error}")
    return urls


def _external(settings: Settings, database: ExternalDatabase, tell: Callable[[str], None]) -> Urls:
    urls = Urls(database.app, database.reader)
    if database.owner is not None:
        return _migrated(settings, database.owner, urls, tell)
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
    return urls
