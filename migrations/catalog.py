"""What guards the log is itself guarded: a fingerprint of the schema, compared with the one released with this code.

The fingerprint is SHA-256 over one line per object of a schema: owners, grants, columns, constraints, indexes, triggers and
whether they fire, rules, row policies, and the whole source of functions. The query is sent from here, so no function in the
database can answer for it. Partitions by month count as one object, if they are all alike. It does not depend on the version
of PostgreSQL: NOT NULL constraints and the owner's own privileges, which do, are left out.
"""

from __future__ import annotations

from enum import Enum

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from migrations.cluster import MigrationError, engine_url
from migrations.fingerprint import fingerprint_query

AUDIT = "09a3ca8152756c14add8193649e756884db97faa6f8179c636358d5bd3e743f7"
"""The fingerprint of schema audit at the newest revision."""
GUARD = "1dfb5286b566be2b4521b63b02115809823aae89febc09fbc79d4607d293b67d"
"""The fingerprint of schema guard, event triggers included."""


class Guard(Enum):
    """Whether event triggers watch over the schema: only a superuser can have installed them."""

    PRESENT = "present"
    ABSENT = "absent"


class CatalogAltered(MigrationError):
    """The schema is not the one that this release made."""


def fingerprint(connection: Connection, schema: str) -> str:
    """The fingerprint of a schema as it stands, 64 hexadecimal digits; any role may ask."""
    connection.execute(text("SET LOCAL search_path = pg_catalog"))
    return str(connection.exec_driver_sql(fingerprint_query(f"'{schema}'").replace("%", "%%")).scalar_one())


def require_intact(url: str) -> Guard:
    """Compare the database with this release, as any role, at a start or from time to time; raises CatalogAltered."""
    engine = create_engine(engine_url(url), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            return judge(connection)
    except OperationalError as error:
        raise MigrationError(f"the database cannot be reached or refused the login: {error.orig}") from error
    finally:
        engine.dispose()


def judge(connection: Connection) -> Guard:
    """The same on a connection that is inside a transaction."""
    _compare("audit", fingerprint(connection, "audit"), AUDIT)
    if connection.execute(text("SELECT to_regnamespace('guard') IS NULL")).scalar_one():
        return Guard.ABSENT
    _compare("guard", fingerprint(connection, "guard"), GUARD)
    return Guard.PRESENT


def _compare(schema: str, found: str, released: str) -> None:
    if found != released:
        raise CatalogAltered(
            f"schema {schema} of the database is not the one that this release made (its fingerprint is {found}, expected was "
            f"{released[:8]}...): somebody changed a function, trigger, rule, policy or right. Nothing is served; export the "
            "logs, run verify, and restore the schema from a backup"
        )
