"""The schema: who may do what, and that it is reached from an empty database again and again."""

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from psycopg import errors
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import OperationalError

import migrations
from gateway.settings import DatabaseUrl, sqlalchemy_url
from gateway.tables import Table
from migrations.cluster import MigrationError, failure
from migrations.run import current_revision, newest_revision, upgrade
from tests.postgres_fixtures import Database

LOG_TABLES = ("header", "body", "batch", "checkpoint", "retired")


def test_upgrade_again_changes_nothing(database: Database) -> None:
    """upgrade() of an upgraded database is harmless and leaves the newest revision."""
    upgrade(database.owner_url)
    engine = create_engine(sqlalchemy_url(DatabaseUrl(database.app_url)))
    with engine.connect() as connection:
        assert current_revision(connection) == newest_revision()
    engine.dispose()


@pytest.fixture
def earlier(database: Database) -> Iterator[Database]:
    """A database of an earlier release."""
    made = Database(database.server, f"t{uuid.uuid4().hex}")
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {made.name} OWNER gov_owner")
        upgrade(made.owner_url, "0012")
        yield made
        connection.execute(f"DROP DATABASE {made.name} WITH (FORCE)")


def revision(database: Database) -> str:
    """The revision of the schema that is there."""
    with psycopg.connect(database.owner_url) as connection:
        (found,) = connection.execute("SELECT version_num FROM app.alembic_version").fetchone() or ("",)
    return str(found)


def test_an_upgrade_does_not_wait_for_a_reader(earlier: Database) -> None:
    """Beside a snapshot of the log an upgrade ends soon, in words, with nothing changed; once it is over the same succeeds."""
    with psycopg.connect(earlier.reader_url) as reader:
        reader.execute("SELECT count(*) FROM audit.header")
        started = time.monotonic()
        with pytest.raises(MigrationError, match="reads the log"):
            upgrade(earlier.owner_url)
        assert time.monotonic() - started < 30
        assert revision(earlier) == "0012"
    upgrade(earlier.owner_url)
    assert revision(earlier) == newest_revision()


def test_alembic_by_itself_is_refused(earlier: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of Alembic's own names the one way to migrate and changes nothing, whatever the environment says."""
    monkeypatch.setenv("PALIMPSEST_OWNER_URL", earlier.owner_url)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    orders: list[Callable[[], object]] = [lambda: command.upgrade(config, "head"), lambda: command.current(config)]
    for order in orders:
        with pytest.raises(SystemExit, match=r"migrations\.run import upgrade"):
            order()
    assert revision(earlier) == "0012"


def test_what_failed_is_told_apart() -> None:
    """A statement that fails is not told as a server that cannot be reached."""

    def told(cause: psycopg.Error) -> str:
        return str(failure(OperationalError("", {}, cause)))

    assert "cannot be reached" in told(psycopg.OperationalError("no route"))
    assert "let it end" in told(errors.LockNotAvailable("lock timeout"))
    assert "the database failed" in told(errors.DiskFull("no space left"))


def test_a_superuser_may_migrate_and_owns_nothing(database: Database) -> None:
    """Whoever connects to migrate, every object belongs to gov_owner."""
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    fresh = Database(database.server, name)
    upgrade(fresh.superuser_url)
    with psycopg.connect(fresh.superuser_url) as connection:
        owners = connection.execute(
            "SELECT DISTINCT pg_get_userbyid(c.relowner) FROM pg_class c "
            "WHERE c.relnamespace IN ('audit'::regnamespace, 'app'::regnamespace)"
        ).fetchall()
        functions = connection.execute(
            "SELECT DISTINCT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'audit'::regnamespace"
        ).fetchall()
    assert owners == functions == [("gov_owner",)]
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_login_without_rights_is_told_what_to_do(untouched: Database) -> None:
    """Migrating as gov_app fails with a message that names the right login."""
    with pytest.raises(MigrationError, match="gov_owner"):
        upgrade(untouched.app_url)


def test_an_unreachable_database_is_told_apart() -> None:
    """A server that is not there is a MigrationError, not a traceback of the driver."""
    with pytest.raises(MigrationError, match="cannot be reached"):
        upgrade("postgresql://gov_owner:x@/palimpsest?host=/nonexistent")


def test_no_role_has_more_than_its_power(untouched: Database) -> None:
    """None of the three roles is a superuser, makes roles, bypasses row security or belongs to another."""
    with psycopg.connect(untouched.superuser_url) as connection:
        rows = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication FROM pg_roles "
            "WHERE rolname LIKE 'gov\\_%'"
        ).fetchall()
        members = connection.execute(
            "SELECT count(*) FROM pg_auth_members WHERE member::regrole::text LIKE 'gov\\_%'"
        ).fetchone()
    assert rows == [(False,) * 5] * 3
    assert members == (0,)


@pytest.mark.parametrize("table", ["head", *LOG_TABLES])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM audit.{}",
        "INSERT INTO audit.{} DEFAULT VALUES",
        "UPDATE audit.{} SET tenant = 'x'",
        "DELETE FROM audit.{}",
        "TRUNCATE audit.{}",
    ],
)
def test_the_app_touches_no_table_of_the_log(untouched: Database, table: str, statement: str) -> None:
    """gov_app can neither read nor write any table of the log."""
    with psycopg.connect(untouched.app_url) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement.format(table))


@pytest.mark.parametrize("table", LOG_TABLES)
@pytest.mark.parametrize("statement", ["UPDATE audit.{} SET tenant = 'x'", "DELETE FROM audit.{}", "TRUNCATE audit.{}"])
@pytest.mark.parametrize("role", ["gov_owner", "postgres"])
def test_the_log_only_grows_even_for_its_owner(untouched: Database, table: str, statement: str, role: str) -> None:
    """Change, deletion and truncation are refused by statement, to the owner and a superuser, rows or none."""
    with (
        psycopg.connect(untouched.server.url(role, untouched.name)) as connection,
        pytest.raises(psycopg.Error) as refusal,
    ):
        connection.execute(statement.format(table))
    assert refusal.value.sqlstate == "PA005"


@pytest.mark.parametrize("statement", ["DELETE FROM audit.head", "TRUNCATE audit.head"])
def test_a_head_is_never_removed(untouched: Database, statement: str) -> None:
    """The counter row of a tenant cannot be deleted, which would start its numbers again."""
    with psycopg.connect(untouched.owner_url) as connection, pytest.raises(psycopg.Error) as refusal:
        connection.execute(statement)
    assert refusal.value.sqlstate == "PA005"


@pytest.mark.parametrize("table", LOG_TABLES)
def test_the_reader_only_reads(untouched: Database, table: str) -> None:
    """gov_reader may select and not insert, and may not append."""
    with psycopg.connect(untouched.reader_url, autocommit=True) as connection:
        assert connection.execute(f"SELECT * FROM audit.{table}").fetchall() == []
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(f"INSERT INTO audit.{table} (tenant) VALUES ('x')")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("SELECT audit.record_checkpoint('t', 0, '', '')")


def test_the_app_has_ordinary_rights_in_its_own_schema(database: Database) -> None:
    """gov_app works in schema app, and can read but not write the version of the schema."""
    with psycopg.connect(database.app_url, autocommit=True) as connection:
        connection.execute("INSERT INTO app.tenant VALUES ('acme')")
        connection.execute("DELETE FROM app.tenant")
        assert connection.execute("SELECT version_num FROM app.alembic_version").fetchone() is not None
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("UPDATE app.alembic_version SET version_num = '0'")
        with pytest.raises(errors.CheckViolation):
            connection.execute("INSERT INTO app.tenant VALUES ('No Such')")


def test_the_tables_in_python_are_those_of_the_database(database: Database) -> None:
    """Every column that gateway/tables.py names exists with the same nullability, and no other does."""
    engine = create_engine(sqlalchemy_url(DatabaseUrl(database.app_url)))
    inspector = inspect(engine)
    for table in Table.metadata.tables.values():
        stored = {column["name"]: column["nullable"] for column in inspector.get_columns(table.name, "app")}
        assert stored == {column.name: column.nullable for column in table.columns}
    engine.dispose()
