"""Whoever changes what guards the log is refused, or is found out at the next start."""

from __future__ import annotations

import uuid
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from migrations.catalog import CatalogAltered, Guard, require_intact
from migrations.run import upgrade
from tests.postgres_fixtures import Database

PARTITION = "(SELECT min(c.relname) FROM pg_class c WHERE c.relname ~ '^body_2')"
OLD_FINGERPRINT = Path(__file__).parent / "fingerprint_before_0014.sql"


def of_a_month(statement: str) -> str:
    """A statement about the partition of a month, one of several that are alike, in place of its %I."""
    return f"DO $$ BEGIN EXECUTE format('{statement}', {PARTITION}); END $$"


CHANGES = {
    "a rule that swallows rows": "CREATE RULE swallow AS ON INSERT TO audit.body DO INSTEAD NOTHING",
    "a trigger": "CREATE TRIGGER more BEFORE INSERT ON audit.header FOR EACH ROW EXECUTE FUNCTION audit.deny()",
    "a trigger dropped": "DROP TRIGGER only_grows ON audit.header",
    "a trigger disabled": "ALTER TABLE audit.header DISABLE TRIGGER only_grows",
    "a trigger disabled in one partition": "ALTER TABLE audit.body_rest DISABLE TRIGGER ALL",
    "a partition taken out": "ALTER TABLE audit.body DETACH PARTITION audit.body_rest",
    "a partition moved away": of_a_month("ALTER TABLE audit.%I SET SCHEMA app"),
    "a partition elsewhere":
        "CREATE TABLE app.mine PARTITION OF audit.body FOR VALUES FROM (false, 4000000000000000) TO (false, 4100000000000000)",
    "a partition under another month's name": of_a_month("ALTER TABLE audit.%I RENAME TO body_2020_01"),
    "a partition of more than a month":
        "CREATE TABLE audit.body_2080_01 PARTITION OF audit.body FOR VALUES FROM (false, 4000000000000000) TO (true, MINVALUE)",
    "a child elsewhere": "CREATE TABLE app.kid () INHERITS (audit.checkpoint)",
    "a table moved away": "ALTER TABLE audit.checkpoint SET SCHEMA app",
    "a table renamed": "ALTER TABLE audit.batch RENAME TO patch",
    "a table added": "CREATE TABLE audit.more (tenant text)",
    "a column added": "ALTER TABLE audit.header ADD COLUMN more text",
    "a constraint dropped": "ALTER TABLE audit.header DROP CONSTRAINT header_seq_check",
    "row security off": "ALTER TABLE audit.header NO FORCE ROW LEVEL SECURITY",
    "a policy": "CREATE POLICY more ON audit.header FOR UPDATE TO gov_owner USING (true)",
    "a policy dropped": "DROP POLICY tenant_reads ON audit.body",
    "a policy altered": "ALTER POLICY tenant_reads ON audit.body USING (true)",
    "a right": "GRANT SELECT ON audit.header TO gov_app",
    "a right to a column": "GRANT SELECT (kind) ON audit.header TO gov_app",
    "a right taken": "REVOKE EXECUTE ON FUNCTION audit.append FROM gov_app",
    "a right on the schema": "GRANT CREATE ON SCHEMA audit TO gov_app",
    "rights by default": "ALTER DEFAULT PRIVILEGES IN SCHEMA audit GRANT SELECT ON TABLES TO gov_app",
    "a function with the caller's rights": "ALTER FUNCTION audit.append SECURITY INVOKER",
    "a function with another path": "ALTER FUNCTION audit.retire SET search_path = app",
    "another function": "CREATE OR REPLACE FUNCTION audit.deny() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "the schema renamed": "ALTER SCHEMA audit RENAME TO elsewhere",
}  # fmt: skip
DROPS = {
    "a table dropped": "DROP TABLE audit.checkpoint CASCADE",
    "a function dropped": "DROP FUNCTION audit.record_checkpoint",
    "the schema dropped": "DROP SCHEMA audit CASCADE",
    "everything dropped": "DROP OWNED BY gov_owner",
}


@pytest.mark.parametrize("statement", [*CHANGES.values(), *DROPS.values()], ids=[*CHANGES, *DROPS])
def test_the_owner_changes_nothing_unannounced(untouched: Database, statement: str) -> None:
    """DDL that changes schema audit is refused to gov_owner, whatever its tag and whether or not it names the schema."""
    with psycopg.connect(untouched.owner_url, autocommit=True) as owner:
        with pytest.raises(psycopg.Error) as refusal:
            owner.execute(statement)
        assert refusal.value.sqlstate == "PA005"
    assert require_intact(untouched.app_url) is Guard.PRESENT


@pytest.mark.parametrize("statement", CHANGES.values(), ids=CHANGES)
def test_what_a_superuser_changes_stops_the_next_start(database: Database, statement: str) -> None:
    """A superuser is let through, and the catalog is no longer the one that was released: no start, and no role is fooled."""
    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        superuser.execute(statement)
    for check in (lambda: require_intact(database.app_url), lambda: upgrade(database.owner_url)):
        with pytest.raises(CatalogAltered, match="schema audit"):
            check()


def test_one_partition_unlike_the_others_is_seen(database: Database) -> None:
    """Partitions are one object to the fingerprint only while all are alike."""
    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        (name,) = superuser.execute(f"SELECT {PARTITION}").fetchone() or ("",)
        superuser.execute(f"ALTER TABLE audit.{name} DISABLE TRIGGER only_grows")
    with pytest.raises(CatalogAltered):
        require_intact(database.app_url)


@pytest.mark.parametrize("statement", ["DROP TABLE audit.{}", "ALTER TABLE audit.body DETACH PARTITION audit.{}"])
def test_the_owner_removes_no_partition(untouched: Database, statement: str) -> None:
    """A partition of a month, one of several that are alike, can be neither dropped nor detached unannounced."""
    with psycopg.connect(untouched.owner_url, autocommit=True) as owner:
        (name,) = owner.execute(f"SELECT {PARTITION}").fetchone() or ("",)
        with pytest.raises(psycopg.Error) as refusal:
            owner.execute(statement.format(name))
    assert refusal.value.sqlstate == "PA005"


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER EVENT TRIGGER guard_commands DISABLE",
        "ALTER EVENT TRIGGER guard_drops ENABLE REPLICA",
        "DROP EVENT TRIGGER guard_drops",
        "CREATE OR REPLACE FUNCTION guard.permitted() RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "GRANT DELETE ON guard.permit TO gov_owner",
    ],
)
def test_a_weakened_guard_stops_the_next_start(database: Database, statement: str) -> None:
    """The guard itself is fingerprinted: a superuser who weakens it is found out, and the owner cannot."""
    with psycopg.connect(database.owner_url, autocommit=True) as owner, pytest.raises(errors.InsufficientPrivilege):
        owner.execute(statement)
    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        superuser.execute(statement)
    with pytest.raises(CatalogAltered, match="schema guard"):
        upgrade(database.owner_url)


def test_an_announced_change_passes_and_leaves_its_trace(database: Database) -> None:
    """A permit opens its own transaction only, names its login, stays when gov_owner would remove it, and hides no change."""
    with psycopg.connect(database.owner_url) as owner:
        owner.execute("SELECT guard.permit('a try')")
        owner.execute("ALTER TABLE audit.header ADD COLUMN more text")
        owner.commit()
        with pytest.raises(psycopg.Error, match="not announced"):
            owner.execute("ALTER TABLE audit.header DROP COLUMN more")
        owner.rollback()
        with pytest.raises(errors.InsufficientPrivilege):
            owner.execute("DELETE FROM guard.permit")
        owner.rollback()
        owner.execute("CREATE TABLE app.ordinary (n integer)")
    with psycopg.connect(database.superuser_url) as superuser:
        rows = superuser.execute("SELECT login, note FROM guard.permit ORDER BY at DESC").fetchall()
    assert rows[0] == ("gov_owner", "a try")
    with pytest.raises(CatalogAltered):
        require_intact(database.reader_url)


def test_the_owner_is_free_in_its_other_schema(database: Database) -> None:
    """What does not touch the log needs no announcement."""
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("CREATE TABLE app.thing (n integer PRIMARY KEY)")
        owner.execute("GRANT SELECT ON app.thing TO gov_reader")
        owner.execute("DROP TABLE app.thing")
    assert require_intact(database.app_url) is Guard.PRESENT


def test_a_guard_of_an_older_release_is_told_and_renewed(database: Database) -> None:
    """The guard as releases before 0014 made it is known as such, and a start with a superuser's URL makes it today's."""
    old = "CREATE OR REPLACE FUNCTION guard.fingerprint() RETURNS text LANGUAGE sql STABLE"
    with psycopg.connect(database.superuser_url) as superuser:
        superuser.execute(f"{old} SET search_path = pg_catalog, pg_temp AS $old${OLD_FINGERPRINT.read_text()}$old$")
        superuser.execute("SELECT guard.permit('the guard of an older release')")
    upgrade(database.owner_url)
    assert require_intact(database.app_url) is Guard.OLD
    upgrade(database.superuser_url)
    assert require_intact(database.app_url) is Guard.PRESENT
    test_the_owner_changes_nothing_unannounced(database, CHANGES["a partition moved away"])


@pytest.mark.parametrize("role", ["gov_app", "gov_reader"])
def test_no_other_role_may_announce(untouched: Database, role: str) -> None:
    """The roles that serve neither open the schema nor see who did."""
    with psycopg.connect(untouched.server.url(role, untouched.name), autocommit=True) as connection:
        for statement in ("SELECT guard.permit('x')", "SELECT * FROM guard.permit"):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement)


def test_a_database_without_a_superuser_has_no_guard_and_says_so(database: Database) -> None:
    """Migrated by gov_owner alone, the schema has the released fingerprint, and the missing event triggers are reported."""
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER gov_owner")
    fresh = Database(database.server, name)
    upgrade(fresh.owner_url)
    assert require_intact(fresh.app_url) is Guard.ABSENT
    upgrade(fresh.superuser_url)
    assert require_intact(fresh.app_url) is Guard.PRESENT
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
