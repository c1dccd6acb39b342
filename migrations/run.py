"""Brings a database to the newest schema, checks its catalog and tends its partitions: `upgrade(owner_url)`, at every start.

Works as gov_owner, as a member of gov_owner, or as a superuser; whoever connects, gov_owner ends up owning
every object. Two starts at once wait for one another on an advisory lock.
"""

from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from migrations.catalog import judge
from migrations.cluster import MigrationError, engine_url, ensure_roles, failure, found_busy
from migrations.fingerprint import fingerprint
from migrations.guard import ensure_guard

VERSION_SCHEMA = "app"
_LOCK = 0x70616C696D  # any fixed number; it names the advisory lock of our migrations
_OLDEST_SERVER = 150000


@dataclass(frozen=True, slots=True)
class Migrated:
    """A schema that changed under logs which held records: what it came to, from which catalog to which, and by whose login.

    `before` and `after` are fingerprints of schema audit, 64 hexadecimal digits.
    """

    revision: str
    before: str
    after: str
    login: str


def upgrade(owner_url: str, revision: str = "head") -> Migrated | None:
    """Apply every migration up to `revision`; raises MigrationError with what to do when it cannot.

    It waits two seconds at the most for those who read the log.

    Returns what is to be put on record: None when nothing changed, or when there was no record yet.

    At the newest revision the catalog is compared with this release, and the partitions of the months ahead are made;
    CatalogAltered, which is a MigrationError, means that somebody changed what guards the log.
    """
    engine = create_engine(engine_url(owner_url), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            _become_owner(connection)
            newest = newest_revision()
            # Nothing is newer than the newest, so at most starts the catalog need not be described to be compared.
            before = None if current_revision(connection) == newest else _described(connection)
            _configured(connection, revision)
            done = None if before is None else _migrated(connection, before)
            if current_revision(connection) == newest:
                judge(connection)
                _tend_partitions(connection)
            return done
    except OperationalError as error:
        raise failure(error) from error
    finally:
        engine.dispose()


def _tend_partitions(connection: Connection) -> None:
    """While somebody reads the log, an export perhaps, the partitions wait for the next start or day."""
    try:
        connection.execute(text("SELECT audit.tend_partitions()"))
        connection.commit()
    except OperationalError as error:
        if not found_busy(error):
            raise
        connection.rollback()


def _described(connection: Connection) -> tuple[str, str] | None:
    """Revision and fingerprint of a database whose logs hold records; None for any other."""
    found = current_revision(connection)
    there = connection.execute(text("SELECT to_regclass('audit.header') IS NOT NULL")).scalar_one()
    if found is None or not there or not connection.execute(text("SELECT EXISTS (SELECT FROM audit.header)")).scalar_one():
        return None
    return found, fingerprint(connection, "audit")


def _migrated(connection: Connection, before: tuple[str, str]) -> Migrated | None:
    after = _described(connection)
    if after is None or before == after:
        return None
    login = connection.execute(text("SELECT session_user")).scalar_one()
    return Migrated(revision=after[0], before=before[1], after=after[1], login=login)


def current_revision(connection: Connection) -> str | None:
    """The revision of the schema that is there, or None before the first migration."""
    options = {"version_table_schema": VERSION_SCHEMA}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


def newest_revision() -> str:
    """The revision that this release of the code needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise MigrationError("this installation has no migrations: install it again")
    return head


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def _configured(connection: Connection, revision: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _become_owner(connection: Connection) -> None:
    """Take the lock, see that roles and the app schema exist, and act as gov_owner from here on."""
    version = connection.execute(text("SELECT current_setting('server_version_num')::int")).scalar_one()
    if version < _OLDEST_SERVER:
        raise MigrationError(f"PostgreSQL 15 or later is needed; this server is {version // 10000}")
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
    ensure_roles(connection)
    if connection.execute(text("SELECT rolsuper FROM pg_roles WHERE rolname = session_user")).scalar_one():
        ensure_guard(connection)
    try:
        _make_app_schema(connection)
    except ProgrammingError as error:
        raise MigrationError(
            "this login may not act as gov_owner in this database: connect as gov_owner, which needs "
            "GRANT CREATE ON DATABASE, or as a superuser"
        ) from error
    connection.commit()


def _make_app_schema(connection: Connection) -> None:
    name = connection.execute(text("SELECT current_database()")).scalar_one()
    may = "SELECT has_database_privilege('gov_owner', current_database(), 'CREATE')"
    if not connection.execute(text(may)).scalar_one():
        quoted = connection.execute(text("SELECT quote_ident(:name)"), {"name": name}).scalar_one()
        connection.exec_driver_sql(f"GRANT CREATE ON DATABASE {quoted} TO gov_owner".replace("%", "%%"))
    connection.execute(text("SET ROLE gov_owner"))
    # Asked first: even a CREATE that finds the schema there would be a command for the guard to judge.
    if connection.execute(text("SELECT to_regnamespace('app') IS NULL")).scalar_one():
        connection.execute(text("CREATE SCHEMA app"))
