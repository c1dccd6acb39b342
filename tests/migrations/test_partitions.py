"""Bodies lie in partitions by month, and leave only under a retirement that the database has checked itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors

from audit.rows import Numbered
from audit.store import AppendConnection, LogRefused, read_tenant
from migrations.catalog import require_intact
from migrations.run import upgrade
from tests.audit.log_samples import TENANT, numbered
from tests.postgres_fixtures import Database

NOW = time.time_ns() // 1000
JANUARY = int(datetime(2020, 1, 15, tzinfo=UTC).timestamp()) * 1_000_000
RULE, RETIREMENT, PLACED, RELEASED, DELEGATION = 45, 46, 43, 44, 27
HOUR = 3600 * 1_000_000


def months(database: Database) -> list[str]:
    """The partitions of months by name."""
    with psycopg.connect(database.superuser_url) as superuser:
        found = superuser.execute("SELECT relname FROM pg_class WHERE relname ~ '^body_[0-9_]{7}$' ORDER BY 1").fetchall()
    return [row[0] for row in found]


def bodies(database: Database, table: str = "body") -> list[int]:
    """The seqs of the bodies in a table."""
    with psycopg.connect(database.superuser_url) as superuser:
        return [row[0] for row in superuser.execute(f"SELECT seq FROM audit.{table} ORDER BY seq")]


def january(database: Database) -> str:
    """Make the partition of a month long past, as a gateway of that time would have, and name it."""
    with psycopg.connect(database.superuser_url) as superuser:
        superuser.execute("SET ROLE gov_owner")
        (statement,) = superuser.execute(
            "SELECT 'CREATE TABLE audit.body_2020_01 PARTITION OF audit.body FOR VALUES FROM (false, '"
            " || audit.month_start('2020-01-01') || ') TO (false, ' || audit.month_start('2020-02-01') || ')'"
        ).fetchone() or ("",)
        superuser.execute(statement)
        superuser.execute("SELECT audit.shut_partition('body_2020_01')")
    return "body_2020_01"


async def append(database: Database, records: Sequence[Numbered]) -> None:
    """Append one batch as gov_app."""
    connection = await AppendConnection.open(database.app_url)
    try:
        await connection.append(TENANT, uuid4(), records)
    finally:
        await connection.close()


async def retire(database: Database, record_seq: int, first: int, last: int) -> int:
    """Retire as gov_app."""
    connection = await AppendConnection.open(database.app_url)
    try:
        return await connection.retire(TENANT, record_seq, first, last)
    finally:
        await connection.close()


async def tend(database: Database) -> int:
    """Tend the partitions as gov_app."""
    connection = await AppendConnection.open(database.app_url)
    done = await connection.tend_partitions()
    await connection.close()
    return done


def aged(*kinds: int, old: int = 3) -> list[Numbered]:
    """`old` notes of January 2020, then acts of these kinds now."""
    notes = [numbered(seq, ts=JANUARY + seq) for seq in range(old)]
    return [*notes, *(numbered(old + index, kind=kind, ts=NOW) for index, kind in enumerate(kinds))]


async def test_months_are_prepared_ahead(database: Database) -> None:
    """This month and three more have partitions from the first start on; tending again makes none."""
    found = months(database)
    assert len(found) == 4
    assert found[0] == f"body_{datetime.now(UTC):%Y_%m}"
    assert await tend(database) == 0


async def test_bodies_lie_in_their_month_and_acts_apart(database: Database) -> None:
    """A body lies in the partition of its record's month; acts, and months that nobody prepared, lie in the default one."""
    month = january(database)
    undated = numbered(4, ts=NOW)
    await append(database, [*aged(PLACED), undated])
    assert bodies(database, month) == [0, 1, 2]
    assert bodies(database, "body_rest") == [3]
    assert bodies(database, months(database)[1]) == [4]
    require_intact(database.app_url)


async def test_a_month_is_dropped_when_it_is_past_and_empty(database: Database) -> None:
    """A past partition stays while it has one body, and goes whole once its bodies are retired."""
    january(database)
    await append(database, aged(RULE, RETIREMENT))
    assert await tend(database) == 0
    assert await retire(database, 4, 0, 2) == 3
    assert len(months(database)) == 5
    assert await tend(database) == 1
    assert len(months(database)) == 4
    assert bodies(database) == [3, 4]


async def test_a_start_beside_a_reader_leaves_the_month(database: Database) -> None:
    """While a snapshot of the log is read a start does not wait for its partitions, and the next one drops what is empty."""
    january(database)
    with read_tenant(database.reader_url, TENANT) as reader:
        assert list(reader.records()) == []
        upgrade(database.owner_url)
        assert len(months(database)) == 5
    upgrade(database.owner_url)
    assert len(months(database)) == 4


async def test_a_month_that_began_in_the_default_partition_stays_there(database: Database) -> None:
    """When bodies of a month already lie in the default partition, tending leaves that month alone and goes on."""
    first = months(database)[0]
    with psycopg.connect(database.superuser_url) as superuser:
        superuser.execute(f"DROP TABLE audit.{first}")
    await append(database, [numbered(0, ts=NOW)])
    assert await tend(database) == 0
    assert first not in months(database)
    assert bodies(database, "body_rest") == [0]


async def test_a_retirement_is_carried_out_once(database: Database) -> None:
    """It removes the bodies of its range but those of acts; again it removes none, and for another range it is refused."""
    await append(
        database, [*aged(RULE, old=2), *(numbered(3 + n, ts=NOW, kind=kind) for n, kind in enumerate((RETIREMENT, 8)))]
    )
    assert await retire(database, 3, 0, 1) == 2
    assert await retire(database, 3, 0, 1) == 0
    with pytest.raises(LogRefused, match="another range"):
        await retire(database, 3, 0, 0)
    assert bodies(database) == [2, 3, 4]


@pytest.mark.parametrize(
    ("kinds", "call", "why"),
    [
        ((RULE,), (3, 0, 2), "no retirement"),
        ((RULE, 8), (4, 0, 2), "no retirement"),
        ((RULE, RETIREMENT), (9, 0, 2), "no retirement"),
        ((RULE, RETIREMENT), (4, 0, 4), "no retirement"),
        ((RETIREMENT,), (3, 0, 2), "no retention rule"),
        ((RULE, RETIREMENT), (4, 0, 3), "for a day"),
        ((RULE, PLACED, RETIREMENT), (5, 0, 2), "1 legal holds"),
        ((RULE, RETIREMENT, PLACED), (4, 0, 2), "1 legal holds"),
        ((RULE, PLACED, PLACED, RELEASED, RETIREMENT), (7, 0, 2), "1 legal holds"),
    ],
)
async def test_no_body_leaves_without_its_record(
    database: Database, kinds: tuple[int, ...], call: tuple[int, int, int], why: str
) -> None:
    """No retirement record, no rule, a range that is too young, or a hold that stands: nothing is removed."""
    await append(database, aged(*kinds))
    before = bodies(database)
    with pytest.raises(LogRefused, match=why):
        await retire(database, *call)
    assert bodies(database) == before


async def test_a_retirement_is_no_older_than_the_clock_says(database: Database) -> None:
    """A retirement that states a time to come removes nothing that is younger than 23 hours by the server's clock."""
    fresh, later = time.time_ns() // 1000, time.time_ns() // 1000 + 23 * HOUR
    times = [(8, fresh - 2 * HOUR), (RULE, later), (RETIREMENT, later)]
    await append(database, [numbered(seq, ts=ts, kind=kind) for seq, (kind, ts) in enumerate(times)])
    with pytest.raises(LogRefused, match="for a day"):
        await retire(database, 2, 0, 0)
    assert bodies(database) == [0, 1, 2]


async def test_a_time_far_ahead_is_refused(database: Database) -> None:
    """No record is of more than a day from now, except in a log that is there already, which goes on."""
    far = time.time_ns() // 1000 + 25 * HOUR
    with pytest.raises(LogRefused, match="more than a day"):
        await append(database, [numbered(0, ts=NOW), numbered(1, ts=far)])
    await append(database, [numbered(0, ts=NOW)])
    with psycopg.connect(database.superuser_url) as superuser:
        superuser.execute("UPDATE audit.head SET last_ts = %s", (far,))
    await append(database, [numbered(1, ts=far)])
    with pytest.raises(LogRefused, match="more than a day"):
        await append(database, [numbered(2, ts=far + 1)])
    assert bodies(database) == [0, 1]


async def test_delegations_last(database: Database) -> None:
    """A retirement of a range leaves the bodies of delegations, also those from before they were marked as lasting."""
    january(database)
    notes = [numbered(seq, ts=JANUARY + seq, kind=kind) for seq, kind in enumerate((8, DELEGATION, 8, DELEGATION))]
    await append(database, [*notes, *(numbered(4 + seq, kind=kind, ts=NOW) for seq, kind in enumerate((RULE, RETIREMENT)))])
    assert 1 in bodies(database, "body_rest")
    with psycopg.connect(database.superuser_url) as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute("UPDATE audit.body SET lasting = false WHERE seq = 3")
    assert await retire(database, 5, 0, 3) == 2
    assert bodies(database) == [1, 3, 4, 5]


@pytest.mark.parametrize("role", ["gov_owner", "postgres"])
async def test_the_function_is_the_only_way(database: Database, role: str) -> None:
    """The owner meets the same checks on audit.retired itself, and can delete nothing that they have not passed."""
    await append(database, aged(RULE, 8))
    with psycopg.connect(database.server.url(role, database.name), autocommit=True) as connection:
        for statement, state in (
            ("DELETE FROM audit.body", "PA005"),
            ("DELETE FROM audit.body_rest", "PA005"),
            ("INSERT INTO audit.retired (tenant, record_seq, first_seq, last_seq) VALUES ('acme', 4, 0, 2)", "PA008"),
            ("UPDATE audit.retired SET last_seq = 9", "PA005"),
            ("DELETE FROM audit.retired", "PA005"),
        ):
            with pytest.raises(psycopg.Error) as refusal:
                connection.execute(statement)
            assert refusal.value.sqlstate == state
    assert len(bodies(database)) == 5


async def test_the_owner_deletes_only_what_is_named_in_its_transaction(database: Database) -> None:
    """A row of audit.retired opens its own range, without acts, until the end of its transaction and no longer."""
    await append(database, aged(RULE, RETIREMENT))
    with psycopg.connect(database.owner_url) as owner:
        owner.execute("INSERT INTO audit.retired (tenant, record_seq, first_seq, last_seq) VALUES ('acme', 4, 0, 1)")
        assert owner.execute("DELETE FROM audit.body").rowcount == 2
        owner.commit()
        with pytest.raises(psycopg.Error, match="only grows"):
            owner.execute("DELETE FROM audit.body")
    assert bodies(database) == [2, 3, 4]


def test_who_may_tend_and_retire(database: Database) -> None:
    """gov_app may call the two functions and none of their parts; gov_reader none; a wild number of months is refused."""
    with psycopg.connect(database.app_url, autocommit=True) as app:
        for call in ("make_partitions(1)", "drop_empty_partitions()", "shut_partition('body')", "announce('x')"):
            with pytest.raises(errors.InsufficientPrivilege):
                app.execute(f"SELECT audit.{call}")
        for ahead in (-1, 25):
            with pytest.raises(psycopg.Error, match="24 months"):
                app.execute("SELECT audit.tend_partitions(%s)", (ahead,))
    with psycopg.connect(database.reader_url, autocommit=True) as reader:
        for call in ("tend_partitions()", "retire('acme', 0, 0, 0)"):
            with pytest.raises(errors.InsufficientPrivilege):
                reader.execute(f"SELECT audit.{call}")
        with pytest.raises(errors.InsufficientPrivilege):
            reader.execute("SELECT * FROM audit.body_rest")
