"""What guards the log is itself guarded: a fingerprint of the schema, compared with the one released with this code.

The fingerprint is SHA-256 over one line per object of a schema: owners, grants, columns, constraints, indexes, triggers and
whether they fire, rules, row policies, and the whole source of functions. The query is sent from here, so no function in the
database can answer for it. It takes in what inherits from a table of the schema, wherever that is, and partitions by month
count as one object, if they are all alike. It does not depend on the version
of PostgreSQL: NOT NULL constraints and the owner's own privileges, which do, are left out.
"""

from __future__ import annotations

from enum import Enum

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from migrations.cluster import MigrationError, engine_url, failure
from migrations.fingerprint import fingerprint
from migrations.guard import OLD_GUARDS

AUDIT = "5b1f08e14afb9be04faa5616367e72f5d6ea19a811eb251b68a44505210f97b8"
"""The fingerprint of schema audit at the newest revision."""
GUARD = "6699c12bbd3147f2cbf45f88f52873e336bc8086ec13b32066fe16c37d005d0e"
"""The fingerprint of schema guard, event triggers included."""


class Guard(Enum):
    """Whether event triggers watch over the schema: only a superuser can have installed them."""

    PRESENT = "present"
    OLD = "made by an older release"
    """It sees less than this release's does; a start with a superuser's URL renews it."""
    ABSENT = "absent"


class CatalogAltered(MigrationError):
    """The schema is not the one that this release made."""


def require_intact(url: str) -> Guard:
    """Compare the database with this release, as any role, at a start or from time to time; raises CatalogAltered."""
    engine = create_engine(engine_url(url), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            return judge(connection)
    except OperationalError as error:
        raise failure(error) from error
    finally:
        engine.dispose()


def judge(connection: Connection) -> Guard:
    """The same on a connection that is inside a transaction."""
    _compare("audit", fingerprint(connection, "audit"), AUDIT)
    if connection.execute(text("SELECT to_regnamespace('guard') IS NULL")).scalar_one():
        return Guard.ABSENT
    found = fingerprint(connection, "guard")
    if found in OLD_GUARDS:
        return Guard.OLD
    _compare("guard", found, GUARD)
    return Guard.PRESENT


def _compare(schema: str, found: str, released: str) -> None:
    if found != released:
        raise CatalogAltered(
            f"schema {schema} of the database is not the one that this release made (its fingerprint is {found}, expected was "
            f"{released[:8]}...): somebody changed a function, trigger, rule, policy or right. Nothing is served or exported: "
            "put back what was changed, or restore a backup; then export the logs and run verify"
        )
