"""Roles and the database itself: what must exist before the first migration can run.

Three roles hold three powers. gov_owner owns every object and is used for migrations only; gov_app serves;
gov_reader reads the log. None is a superuser, none may bypass row security, none is a member of another. What only a
superuser can give, the guard's event triggers, is installed here too.
"""

from collections.abc import Mapping
from enum import StrEnum

from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from migrations.guard import ensure_guard


class Role(StrEnum):
    """The roles of a database that serves the gateway."""

    OWNER = "gov_owner"
    APP = "gov_app"
    READER = "gov_reader"


class MigrationError(RuntimeError):
    """The database cannot be brought to the schema; the message says what its administrator should do."""


_LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL, appendix A, as are the classes below
_NOT_LET_IN = ("08", "28", "3D", "57P")


def found_busy(error: OperationalError) -> bool:
    """Whether a lock was not to be had in the time that a statement may wait for one."""
    return getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE


def failure(error: OperationalError) -> MigrationError:
    """The driver's error in words: a lock that somebody has, a server that lets nobody in, or something else."""
    state = getattr(error.orig, "sqlstate", None)
    if found_busy(error):
        return MigrationError("somebody reads the log (an export?): let it end and start again; nothing was changed")
    if state is None or state.startswith(_NOT_LET_IN):
        return MigrationError(f"the database cannot be reached or refused the login: {error.orig}")
    return MigrationError(f"the database failed, and nothing was changed: {error.orig}")


CREATE_ROLES = "\n".join(f"CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;" for role in Role)


def engine_url(url: str) -> str:
    """A libpq URI spelled for SQLAlchemy with the psycopg driver."""
    return "postgresql+psycopg://" + url.partition("://")[2]


def prepare_database(superuser_url: str, database: str, passwords: Mapping[str, str]) -> None:
    """Make the three roles with their passwords and the guarded database owned by gov_owner; repeats harmlessly."""
    engine = create_engine(engine_url(superuser_url), poolclass=NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True)
    with engine.connect() as connection:
        ensure_roles(connection)
        for role, password in passwords.items():
            _set_password(connection, Role(role), password)
        known = connection.execute(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": database})
        if known.first() is None:
            _run_formatted(connection, "CREATE DATABASE %I OWNER gov_owner", database)
        # Only these roles have business here; by default everybody may connect and make temporary tables.
        _run_formatted(connection, "REVOKE ALL ON DATABASE %I FROM PUBLIC", database)
        _run_formatted(connection, "GRANT CONNECT ON DATABASE %I TO gov_app, gov_reader", database)
    engine.dispose()
    inside = create_engine(make_url(engine_url(superuser_url)).set(database=database), poolclass=NullPool)
    with inside.begin() as connection:
        ensure_guard(connection)
    inside.dispose()


def ensure_roles(connection: Connection) -> None:
    """Create the roles that are missing; MigrationError with the SQL to run when this login may not."""
    found = connection.execute(text("SELECT rolname FROM pg_roles WHERE rolname LIKE 'gov\\_%'")).scalars()
    missing = set(Role) - set(found)
    try:
        for statement in CREATE_ROLES.splitlines():
            if any(f" {role} " in statement for role in missing):
                connection.execute(text(statement))
    except ProgrammingError as error:
        raise MigrationError(
            f"roles {', '.join(sorted(missing))} are missing and this login may not create roles: "
            f"ask the administrator to run\n{CREATE_ROLES}"
        ) from error


def _set_password(connection: Connection, role: Role, password: str) -> None:
    _run_formatted(connection, f"ALTER ROLE {role} PASSWORD %L", password)


def _run_formatted(connection: Connection, template: str, value: str) -> None:
    """Run a utility statement, which takes no parameters, with one value that the server itself has quoted."""
    query = text("SELECT format(:template, CAST(:value AS text))")
    statement = connection.execute(query, {"template": template, "value": value})
    connection.exec_driver_sql(statement.scalar_one().replace("%", "%%"))
