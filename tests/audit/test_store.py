"""append() is the only way in, and it checks what it stores."""

import time
from collections.abc import AsyncIterator
from uuid import uuid4

import psycopg
import pytest

from audit.merkle import tree_root
from audit.rows import Unfinished
from audit.store import AppendConnection, HeadMoved, LogInterrupted, LogRefused, read_tenant
from tests.audit.log_samples import TENANT, forged, numbered, run_of
from tests.postgres_fixtures import Database


@pytest.fixture
async def log(database: Database) -> AsyncIterator[AppendConnection]:
    """An open append connection."""
    connection = await AppendConnection.open(database.app_url)
    yield connection
    await connection.close()


async def test_records_are_stored_as_given(log: AppendConnection, database: Database) -> None:
    """Headers, bodies and leaves come back byte for byte, dense from 0 over several batches."""
    records = run_of(0, 5)
    assert (await log.append(TENANT, uuid4(), records[:2])).first_seq == 0
    stored = await log.append(TENANT, uuid4(), records[2:])
    assert (stored.first_seq, stored.count, stored.next_seq) == (2, 3, 5)
    with read_tenant(database.reader_url, TENANT) as reader:
        assert [row.header for row in reader.records()] == [record.raw for record in records]
        assert [row.body for row in reader.records(1, 3)] == [record.sealed for record in records[1:4]]
        assert tree_root([leaf.leaf for leaf in reader.leaves()]) == tree_root([r.leaf for r in records])
        assert [leaf.seq for leaf in reader.leaves(3)] == [3, 4]
        assert reader.size() == 5


async def test_a_known_batch_is_answered_and_not_stored_again(log: AppendConnection, database: Database) -> None:
    """Repeating a batch id returns the stored range, also after later batches; other contents are refused."""
    batch = uuid4()
    records = run_of(0, 3)
    first = await log.append(TENANT, batch, records)
    await log.append(TENANT, uuid4(), run_of(3, 1))
    again = await log.append(TENANT, batch, records)
    assert (again.first_seq, again.count) == (first.first_seq, first.count)
    assert again.next_seq == 4
    with pytest.raises(LogRefused, match="other contents"):
        await log.append(TENANT, batch, records[:1])
    with pytest.raises(LogRefused, match="other contents"):
        await log.append("other", batch, run_of(0, 3, "other"))
    with read_tenant(database.reader_url, TENANT) as reader:
        assert reader.size() == 4


@pytest.mark.parametrize("seq", [0, 1, 3])
async def test_a_wrong_seq_is_refused_with_the_right_one(log: AppendConnection, seq: int) -> None:
    """An expected seq other than the next one raises HeadMoved, which tells where the log stands."""
    stored = await log.append(TENANT, uuid4(), run_of(0, 2))
    with pytest.raises(HeadMoved) as moved:
        await log.append(TENANT, uuid4(), run_of(seq, 1))
    assert (moved.value.next_seq, moved.value.last_ts) == (2, stored.last_ts)


async def test_time_never_runs_backwards(log: AppendConnection) -> None:
    """A batch that starts before the last record, or that runs backwards inside, is refused."""
    await log.append(TENANT, uuid4(), [numbered(0, ts=100)])
    with pytest.raises(HeadMoved):
        await log.append(TENANT, uuid4(), [numbered(1, ts=99)])
    with pytest.raises(LogRefused, match="backwards"):
        await log.append(TENANT, uuid4(), [numbered(1, ts=102), numbered(2, ts=101)])
    await log.append(TENANT, uuid4(), [numbered(1, ts=100)])


@pytest.mark.parametrize("form", ["[2:3]={{{now},5}}", "[2:3]={{{now},{far}}}", "[0:1]={{5,{now}}}", "{{{{{now}}},{{{far}}}}}"])
def test_times_are_judged_however_they_are_counted(database: Database, form: str) -> None:
    """No lower bound and no second dimension of an array takes a time past the look at clock and head."""
    now, batch = time.time_ns() // 1000, run_of(0, 2)
    times = form.format(now=now, far=now + 10**15)
    values = ([record.raw for record in batch], [record.sealed for record in batch], times)
    call = "SELECT audit.append('acme', 0, gen_random_uuid(), %s::bytea[], %s::bytea[], %s::bigint[], '{NULL,NULL}', '{8,8}')"
    with psycopg.connect(database.app_url) as connection, pytest.raises(psycopg.DatabaseError, match="counts from 1"):
        connection.execute(call, values)


@pytest.mark.parametrize("change", [{"sealed": b"another"}, {"sealed": b""}, {"raw": b"another header"}, {"raw": b""}], ids=str)
async def test_a_wrong_hash_is_refused(log: AppendConnection, database: Database, change: dict[str, bytes]) -> None:
    """A body that is not the one its header commits to stores nothing of its batch."""
    with pytest.raises(LogRefused, match="does not commit to its body"):
        await log.append(TENANT, uuid4(), [numbered(0), forged(numbered(1), **change)])
    with read_tenant(database.reader_url, TENANT) as reader:
        assert reader.size() == 0


def test_arrays_of_different_lengths_are_refused(database: Database) -> None:
    """append() called with arrays that do not match in length, or with a NULL, is refused as malformed."""
    call = "SELECT audit.append(%s, 0, %s, %s::bytea[], '{}', '{}', '{}', '{}')"
    with psycopg.connect(database.app_url, autocommit=True) as connection:
        for tenant, headers in ((TENANT, [b"one"]), (TENANT, None), (None, [])):
            with pytest.raises(psycopg.Error) as refusal:
                connection.execute(call, (tenant, uuid4(), headers))
            assert refusal.value.sqlstate == "PA002"


async def test_a_swallowed_insert_is_noticed(log: AppendConnection, database: Database) -> None:
    """A rule that discards rows, as only a superuser can make it, makes append() fail instead of answering with a seq."""
    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        superuser.execute("CREATE RULE swallow AS ON INSERT TO audit.body DO INSTEAD NOTHING")
    with pytest.raises(LogRefused, match="0 of 1 bodies"):
        await log.append(TENANT, uuid4(), run_of(0, 1))


@pytest.mark.parametrize("asked", ["off", "local", "on", "remote_apply"])
def test_a_commit_is_always_waited_for(database: Database, asked: str) -> None:
    """append() forces synchronous_commit for its transaction, whatever the caller set; stricter values stay."""
    call = "SELECT audit.append(%s, 0, %s, " + ", ".join(["'{}'"] * 5) + ")"
    with psycopg.connect(database.app_url) as connection:
        connection.execute(f"SET synchronous_commit = {asked}")
        connection.commit()
        connection.execute(call, (TENANT, uuid4()))
        effective = connection.execute("SHOW synchronous_commit").fetchone()
    assert effective == ("remote_apply" if asked == "remote_apply" else "on",)


async def test_a_probe_commits_and_stores_nothing(log: AppendConnection, database: Database) -> None:
    """An append without records tells the head and leaves the log as it was."""
    await log.append(TENANT, uuid4(), run_of(0, 2))
    probed = await log.append(TENANT, uuid4(), ())
    assert (probed.first_seq, probed.count, probed.next_seq) == (2, 0, 2)
    with read_tenant(database.reader_url, TENANT) as reader:
        assert reader.size() == 2


async def test_a_tenant_never_sees_another(log: AppendConnection, database: Database) -> None:
    """Row security shows a reader the rows of the tenant it named, even to a query that names none."""
    await log.append(TENANT, uuid4(), run_of(0, 2))
    await log.append("other", uuid4(), run_of(0, 1, "other"))
    with psycopg.connect(database.reader_url) as connection:
        for table in ("header", "body", "batch"):
            assert connection.execute(f"SELECT count(*) FROM audit.{table}").fetchone() == (0,)
        connection.execute("SELECT set_config('gov.tenant', 'other', true)")
        for table in ("header", "body", "batch"):
            assert connection.execute(f"SELECT DISTINCT tenant FROM audit.{table}").fetchall() == [("other",)]


async def test_an_unfinished_request_is_found(log: AppendConnection, database: Database) -> None:
    """A request with an open and no close or abandonment is unfinished, and its newest record is named."""
    lost, closed, abandoned = uuid4(), uuid4(), uuid4()
    kinds = [(1, lost), (1, closed), (1, abandoned), (4, lost), (10, closed), (11, abandoned)]
    records = [numbered(seq, ts=seq, kind=kind, request=of) for seq, (kind, of) in enumerate(kinds)]
    await log.append(TENANT, uuid4(), records)
    with read_tenant(database.reader_url, TENANT) as reader:
        assert reader.unfinished() == [Unfinished(lost, 3)]
        assert [row.header for row in reader.request(closed)] == [records[1].raw, records[4].raw]


async def test_checkpoints_are_kept_and_never_contradicted(log: AppendConnection, database: Database) -> None:
    """A checkpoint is stored once; another root for its size, or a size beyond the log, is refused."""
    await log.append(TENANT, uuid4(), run_of(0, 2))
    for size, note in ((1, "one"), (2, "two"), (2, "two")):
        await log.record_checkpoint(TENANT, size, bytes([size] * 32), note)
    with pytest.raises(LogRefused, match="another root"):
        await log.record_checkpoint(TENANT, 2, bytes(32), "fork")
    with pytest.raises(LogRefused, match="shorter"):
        await log.record_checkpoint(TENANT, 3, bytes(32), "future")
    with read_tenant(database.reader_url, TENANT) as reader:
        assert list(reader.checkpoints()) == ["one", "two"]


@pytest.mark.parametrize(
    "grant",
    [
        "CREATE TABLE app.kid () INHERITS (audit.checkpoint); GRANT DELETE ON app.kid TO gov_app",
        "CREATE TABLE app.kid () INHERITS (audit.checkpoint); ALTER TABLE app.kid OWNER TO gov_app",
        "GRANT UPDATE (note) ON audit.checkpoint TO gov_app",
    ],
)
async def test_rights_on_any_part_of_the_log_are_seen(database: Database, grant: str) -> None:
    """A login that may touch a column, or what inherits from a table in whatever schema, does not serve."""
    with psycopg.connect(database.superuser_url) as superuser:
        superuser.execute(grant)
    with pytest.raises(LogRefused, match=r"gov_owner|rights"):
        await AppendConnection.open(database.app_url)


@pytest.mark.parametrize(("role", "why"), [("postgres", "superuser"), ("gov_owner", "gov_owner"), ("gov_reader", "rights")])
async def test_a_role_with_other_rights_does_not_serve(database: Database, role: str, why: str) -> None:
    """Serving as superuser, owner or reader is refused in words."""
    with pytest.raises(LogRefused, match=why):
        await AppendConnection.open(database.server.url(role, database.name))


async def test_a_database_without_the_schema_is_named(database: Database) -> None:
    """Without migrations the refusal says to run them."""
    with pytest.raises(LogRefused, match="migrations"):
        await AppendConnection.open(database.server.url("gov_app", "postgres"))


async def test_an_unreachable_server_is_an_interruption() -> None:
    """A server that is not there is LogInterrupted, for writer and reader alike."""
    url = "postgresql://gov_app:x@/palimpsest?host=/nonexistent"
    with pytest.raises(LogInterrupted):
        await AppendConnection.open(url)
    with pytest.raises(LogInterrupted), read_tenant(url, TENANT):
        pass
