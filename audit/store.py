"""The log in PostgreSQL: appending as gov_app, reading as gov_reader. The only file of this room that speaks SQL.

An append is durable when it returns and is known by its batch id, so it may be repeated after any doubt.
Errors fall in three kinds: HeadMoved (number again and retry), LogInterrupted (connect again and retry the same
batch) and LogRefused (a retry cannot help). SQLSTATEs of our own: PA001 head moved, PA002 arguments, PA003 hash,
PA004 rows lost, PA005 append-only, PA006 batch id used twice, PA007 checkpoint, PA008 retirement.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any, NoReturn, TypeAlias
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from audit.arrays import Array, blobs, ids, longs, shorts, take_arrays
from audit.errors import AuditError
from audit.header import LeafHash, StoredRecord
from audit.rows import Leaf, Numbered, Stored, Unfinished

_FETCH_ROWS = 500
_HEAD_MOVED = "PA001"
_LOCK_NOT_AVAILABLE = "55P03"
# Beyond OperationalError: a standby that was promoted, or a primary that was demoted under us.
_PASSING_STATES = {"25006"}

Row: TypeAlias = tuple[Any, ...]


class LogInterrupted(AuditError):
    """The connection or the server failed: whether the last batch was committed is unknown. Retry it."""


class LogBusy(LogInterrupted):
    """Somebody has what a statement needs, a reader perhaps, and it was not waited for. Nothing was done."""


class LogRefused(AuditError):
    """The database refuses for a reason that a retry cannot mend; the message says which."""


class HeadMoved(AuditError):
    """Another writer appended first; the log now stands at `next_seq` and `last_ts`."""

    def __init__(self, next_seq: int, last_ts: int) -> None:
        super().__init__(f"the log has moved on to {next_seq}")
        self.next_seq = next_seq
        self.last_ts = last_ts


class AppendConnection:
    """One connection of gov_app, which can append and do nothing else to the log. Not for concurrent use."""

    def __init__(self, connection: AsyncConnection[Row]) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, url: str) -> "AppendConnection":
        """Connect; raises LogInterrupted when that fails and LogRefused for a role that has too many rights."""
        try:
            connection = await AsyncConnection.connect(_conninfo(url, "writer"), autocommit=True)
        except psycopg.Error as error:
            _raise(error)
        take_arrays(connection)
        try:
            rights = await (await connection.execute(_RIGHTS)).fetchone()
            _require_plain_role(rights)
        except psycopg.Error as error:
            await connection.close()
            _raise(error)
        except BaseException:
            await connection.close()
            raise
        return cls(connection)

    async def append(self, tenant: str, batch_id: UUID, records: Sequence[Numbered]) -> Stored:
        """Append one batch, durably; with no records this is a probe that commits like an append."""
        expected = records[0].seq if records else 0
        statement, values = (_APPEND, _columns(records)) if records else (_PROBE, ())
        try:
            # One statement is one transaction and one round trip: the server is ready again, and execute() returns, only after
            # its COMMIT; one that fails is an error of execute() as well.
            cursor = await self._connection.execute(statement, (tenant, expected, batch_id, *values))
            row = await cursor.fetchone()
        except psycopg.Error as error:
            _raise(error)
        if row is None:
            raise LogRefused("append() returned nothing: the function in the database is not ours")
        return Stored(*row)

    async def record_checkpoint(self, tenant: str, size: int, root: bytes, note: str) -> None:
        """Store a signed checkpoint; storing it again is harmless, another root for its size is refused."""
        try:
            await self._connection.execute(_RECORD_CHECKPOINT, (tenant, size, root, note))
        except psycopg.Error as error:
            _raise(error)

    async def retire(self, tenant: str, record_seq: int, first_seq: int, last_seq: int) -> int:
        """Remove the bodies that the retirement at `record_seq` names, durably; how many there were, 0 when it is done already.

        The database asks for that record and for the absence of holds itself; LogRefused says what it misses.
        """
        return await self._ask(_RETIRE, (tenant, record_seq, first_seq, last_seq))

    async def tend_partitions(self) -> int:
        """Make the partitions of the months ahead and drop empty past ones, daily; raises LogBusy beside a reader."""
        return await self._ask(_TEND, ())

    async def _ask(self, statement: str, values: tuple[object, ...]) -> int:
        try:
            row = await (await self._connection.execute(statement, values)).fetchone()
        except psycopg.Error as error:
            _raise(error)
        return int(row[0]) if row is not None else 0

    @property
    def usable(self) -> bool:
        """Whether the connection is idle and, as far as known, alive."""
        return self._connection.pgconn.transaction_status == TransactionStatus.IDLE

    async def close(self) -> None:
        """Close; never raises for a connection that is already dead."""
        await self._connection.close()


class Reader:
    """One tenant's log as one snapshot, read as gov_reader under row security; made by `read_tenant`."""

    def __init__(self, connection: Connection[Row], tenant: str) -> None:
        self._connection, self._tenant = connection, tenant
        self._streams = 0

    @property
    def streams(self) -> bool:
        """Whether somebody is still in the middle of an answer."""
        return self._streams > 0

    def leaves(self, first_seq: int = 0, stop_seq: int = 2**62) -> Iterator[Leaf]:
        """Leaf hashes in order from `first_seq` up to, and not with, `stop_seq`."""
        for seq, ts, leaf in self._stream(_LEAVES, (self._tenant, first_seq, stop_seq)):
            yield Leaf(seq, ts, LeafHash(leaf))

    def headers(self, first_seq: int, stop_seq: int) -> Iterator[bytes]:
        """Stored header bytes in order from `first_seq` up to, and not with, `stop_seq`."""
        for (raw,) in self._stream(_HEADERS, (self._tenant, first_seq, stop_seq)):
            yield raw

    def records(self, first_seq: int = 0, last_seq: int = 2**62) -> Iterator[StoredRecord]:
        """Stored headers and sealed bodies in order; a body that is no longer there is None."""
        return self._stored(_RECORDS, (self._tenant, first_seq, last_seq))

    def request(self, request: UUID, first_seq: int = 0) -> Iterator[StoredRecord]:
        """The records of one request from `first_seq` on, in order."""
        return self._stored(_REQUEST, (self._tenant, request, first_seq))

    def of_kinds(self, kinds: Collection[int], first_seq: int, stop_seq: int) -> Iterator[StoredRecord]:
        """The records of these kinds from `first_seq` up to, and not with, `stop_seq`, in order."""
        return self._stored(_OF_KINDS, (self._tenant, first_seq, stop_seq, list(kinds)))

    def case(self, request: UUID) -> Iterator[StoredRecord]:
        """The records of one request's approval (kinds 20 to 29) in order."""
        return self._stored(_CASE, (self._tenant, request))

    def approvals(self, kinds: Sequence[int], first_seq: int = 0) -> Iterator[StoredRecord]:
        """Records of these kinds, all from 20 to 29, of whatever request, from `first_seq` on in order."""
        return self._stored(_APPROVALS, (self._tenant, list(kinds), first_seq))

    def newest_of(self, requests: Sequence[UUID]) -> dict[UUID, int]:
        """The seq of the newest record of an approval of each of these requests that has any."""
        return dict(self._connection.execute(_NEWEST_OF, (self._tenant, list(requests))).fetchall())

    def request_headers(self, request: UUID) -> Iterator[bytes]:
        """Stored header bytes of one request in order."""
        for (raw,) in self._stream(_REQUEST_HEADERS, (self._tenant, request)):
            yield raw

    def size(self) -> int:
        """How many records the tenant's log has: one more than the last seq."""
        row = self._connection.execute(_SIZE, (self._tenant,)).fetchone()
        return row[0] if row is not None else 0

    def disk_bytes(self) -> int:
        """What the logs of all tenants take on the disk, indexes included."""
        row = self._connection.execute(_DISK_BYTES).fetchone()
        return int(row[0]) if row is not None else 0

    def newest_checkpoint(self) -> str | None:
        """The signed note of the largest tree, or None before the first."""
        row = self._connection.execute(_NEWEST_CHECKPOINT, (self._tenant,)).fetchone()
        return row[0] if row is not None else None

    def checkpoints(self, most: int | None = None, least: int = 0) -> Iterator[str]:
        """Every signed note, over at most or at least so many records if that is said, smallest tree first."""
        for (note,) in self._stream(_CHECKPOINTS, (self._tenant, least, most)):
            yield note

    def recent_checkpoints(self, most: int) -> list[tuple[str, datetime]]:
        """The notes of the largest trees, the largest first, each with when the database took it."""
        return [(row[0], row[1]) for row in self._connection.execute(_RECENT_CHECKPOINTS, (self._tenant, most))]

    def acts(self, first_seq: int = 0, kinds: Collection[int] | None = None) -> Iterator[StoredRecord]:
        """The administrative acts (kinds from 40 on) from `first_seq` on, in order; of these kinds alone if any are named."""
        chosen = None if kinds is None else sorted(kinds)
        return self._stored(_ACTS, (self._tenant, first_seq, chosen))

    def last_before(self, ts: int) -> int | None:
        """The seq of the newest record before a time in microseconds, None if there is none."""
        row = self._connection.execute(_LAST_BEFORE, (self._tenant, ts)).fetchone()
        return None if row is None else row[0]

    def first_undecided(self) -> int | None:
        """The first seq of the requests whose held answer waits for a decision, None if there are none."""
        row = self._connection.execute(_FIRST_UNDECIDED, (self._tenant,)).fetchone()
        return None if row is None else row[0]

    def retired(self) -> frozenset[int]:
        """The seqs of the retirements that have been carried out."""
        return frozenset(row[0] for row in self._connection.execute(_RETIRED, (self._tenant,)))

    def unfinished(self) -> list[Unfinished]:
        """Requests with an open record (kind 1) and no close or abandonment (kinds 10 and 11)."""
        return [Unfinished(*row) for row in self._connection.execute(_UNFINISHED, (self._tenant,))]

    def _stored(self, statement: str, values: tuple[object, ...]) -> Iterator[StoredRecord]:
        for raw, data in self._stream(statement, values):
            yield StoredRecord(raw, data)

    def _stream(self, statement: str, values: tuple[object, ...]) -> Iterator[Row]:
        self._streams += 1
        try:
            with self._connection.cursor("palimpsest_stream") as cursor:
                cursor.itersize = _FETCH_ROWS
                cursor.execute(statement, values)
                yield from cursor
        except psycopg.Error as error:
            _raise(error)
        finally:
            self._streams -= 1


class ReadConnection:
    """One connection of gov_reader, for one snapshot after the other. Blocks, and is not for concurrent use."""

    def __init__(self, url: str) -> None:
        """Connect; raises LogInterrupted or LogRefused."""
        try:
            self._connection = psycopg.connect(_conninfo(url, "reader"))
        except psycopg.Error as error:
            _raise(error)
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._connection.read_only = True
        self._reader: Reader | None = None

    def begin(self, tenant: str) -> Reader:
        """A snapshot of one tenant's log, until `end`. Raises LogInterrupted or LogRefused."""
        try:
            self._connection.execute(_SET_TENANT, (tenant,))
        except psycopg.Error as error:
            _raise(error)
        self._reader = Reader(self._connection, tenant)
        return self._reader

    def end(self) -> bool:
        """Let the snapshot go; whether the connection can serve for another one."""
        try:
            self._connection.rollback()
        except psycopg.Error:
            return False
        return self._reader is None or not self._reader.streams

    def close(self) -> None:
        """Close, and any snapshot with it."""
        self._connection.close()


@contextmanager
def read_tenant(url: str, tenant: str) -> Iterator[Reader]:
    """Open a snapshot of one tenant's log; raises LogInterrupted or LogRefused. Blocks: not for an event loop."""
    with closing(ReadConnection(url)) as connection, told_as_ours():
        yield connection.begin(tenant)


@contextmanager
def told_as_ours() -> Iterator[None]:
    """What the driver raises inside is raised as LogInterrupted or LogRefused."""
    try:
        yield
    except psycopg.Error as error:
        _raise(error)


def _conninfo(url: str, part: str) -> str:
    """The URL with a name to show in pg_stat_activity and short patience with a dead host."""
    patience = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3}
    return make_conninfo(url, application_name=f"palimpsest {part}", **patience)


def _require_plain_role(rights: Row | None) -> None:
    """Refuse a login that could change the log, or that finds no log to append to."""
    name, powerful, owner, touches, executes = rights or ("?", True, True, True, False)
    if powerful or owner or touches:
        why = "a superuser or BYPASSRLS" if powerful else "gov_owner" if owner else "granted rights on its tables"
        raise LogRefused(f"refusing to serve as {name!r}, which is {why}: give PALIMPSEST_DATABASE_URL a login of gov_app")
    if not executes:
        raise LogRefused(f"{name!r} may not append to the log here: run the migrations with PALIMPSEST_OWNER_URL")


def _raise(error: psycopg.Error) -> NoReturn:
    """Turn a driver's error into one of ours."""
    state = error.sqlstate
    if state == _HEAD_MOVED:
        next_seq, last_ts = (error.diag.message_detail or "0 0").split()
        raise HeadMoved(int(next_seq), int(last_ts)) from error
    if state == _LOCK_NOT_AVAILABLE:
        raise LogBusy(f"the log is in use: {error}") from error
    # Without a state the error is the driver's own: a lost link, but for a value that it refuses to send, now and again.
    lost_link = isinstance(error, psycopg.InterfaceError) or (
        state is None and isinstance(error, psycopg.DatabaseError) and not isinstance(error, psycopg.DataError)
    )
    if isinstance(error, psycopg.OperationalError) or lost_link or state in _PASSING_STATES:
        raise LogInterrupted(f"the database is not answering: {error}") from error
    raise LogRefused(f"the database refused: {error}") from error


def _columns(records: Sequence[Numbered]) -> tuple[Array, ...]:
    return (
        blobs([record.raw for record in records]),
        blobs([record.sealed for record in records]),
        longs([record.ts for record in records]),
        ids([record.request for record in records]),
        shorts([record.kind for record in records]),
    )


_APPEND = """
SELECT first_seq, n, next_seq, last_ts FROM audit.append(
    %s, %s::bigint, %s, %b::bytea[], %b::bytea[], %b::bigint[], %b::uuid[], %b::smallint[])
"""
_PROBE = "SELECT first_seq, n, next_seq, last_ts FROM audit.append(%s, %s::bigint, %s, '{}', '{}', '{}', '{}', '{}')"
_RECORD_CHECKPOINT = "SELECT audit.record_checkpoint(%s, %s::bigint, %b, %s)"
_RETIRE = "SELECT audit.retire(%s, %s::bigint, %s::bigint, %s::bigint)"
_TEND = "SELECT audit.tend_partitions()"
_SET_TENANT = "SELECT set_config('gov.tenant', %s, true)"
_RANGE = "FROM audit.header WHERE tenant = %s AND seq >= %s AND seq < %s ORDER BY seq"
_LEAVES = rf"SELECT seq, ts, sha256('\x00'::bytea || raw) {_RANGE}"
_HEADERS = f"SELECT raw {_RANGE}"
_BODIES = "SELECT h.raw, b.data FROM audit.header h LEFT JOIN audit.body b USING (tenant, seq) WHERE h.tenant = %s AND"
_RECORDS = f"{_BODIES} h.seq BETWEEN %s AND %s ORDER BY h.seq"
_REQUEST = f"{_BODIES} h.request = %s AND h.seq >= %s ORDER BY h.seq"
_OF_KINDS = f"{_BODIES} h.seq >= %s AND h.seq < %s AND h.kind = ANY(%s) ORDER BY h.seq"
_CASE = f"{_BODIES} h.request = %s AND h.kind BETWEEN 20 AND 29 ORDER BY h.seq"
_APPROVALS = f"{_BODIES} h.kind BETWEEN 20 AND 29 AND h.kind = ANY(%s) AND h.seq >= %s ORDER BY h.seq"
_NEWEST_OF = """
SELECT request, max(seq) FROM audit.header
WHERE tenant = %s AND request = ANY(%s) AND kind BETWEEN 20 AND 29 GROUP BY request
"""
_REQUEST_HEADERS = "SELECT raw FROM audit.header WHERE tenant = %s AND request = %s ORDER BY seq"
_SIZE = "SELECT coalesce(max(seq) + 1, 0) FROM audit.header WHERE tenant = %s"
_DISK_BYTES = """
SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'audit' AND c.relkind = 'r'
"""
_NEWEST_CHECKPOINT = "SELECT note FROM audit.checkpoint WHERE tenant = %s ORDER BY size DESC LIMIT 1"
_RECENT_CHECKPOINTS = "SELECT note, created FROM audit.checkpoint WHERE tenant = %s ORDER BY size DESC LIMIT %s"
_CHECKPOINTS = "SELECT note FROM audit.checkpoint WHERE tenant = %s AND size >= %s AND coalesce(size <= %s, true) ORDER BY size"
_ACTS = f"{_BODIES} h.kind >= 40 AND h.seq >= %s AND coalesce(h.kind = ANY(%s::int[]), true) ORDER BY h.seq"
_LAST_BEFORE = "SELECT max(seq) FROM audit.header WHERE tenant = %s AND ts < %s"
_FIRST_UNDECIDED = """
SELECT min(h.seq) FROM audit.header o JOIN audit.header h USING (tenant, request)
WHERE o.tenant = %s AND o.kind = 20 AND NOT EXISTS (
    SELECT FROM audit.header e WHERE e.tenant = o.tenant AND e.request = o.request AND e.kind = 24)
"""
_RETIRED = "SELECT record_seq FROM audit.retired WHERE tenant = %s"
_UNFINISHED = """
SELECT o.request, (SELECT max(l.seq) FROM audit.header l WHERE l.tenant = o.tenant AND l.request = o.request)
FROM audit.header o
WHERE o.tenant = %s AND o.kind = 1 AND NOT EXISTS (
    SELECT FROM audit.header e WHERE e.tenant = o.tenant AND e.request = o.request AND e.kind IN (10, 11))
ORDER BY o.seq
"""
# Rows of the log also lie in what inherits from its tables, whatever the schema.
_RIGHTS = """
WITH RECURSIVE part AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'audit'
    UNION SELECT i.inhrelid FROM pg_inherits i JOIN part p ON p.oid = i.inhparent)
SELECT current_user, r.rolsuper OR r.rolbypassrls,
       EXISTS (SELECT FROM pg_roles o WHERE o.rolname = 'gov_owner' AND pg_has_role(r.oid, o.oid, 'MEMBER'))
           OR EXISTS (SELECT FROM pg_class c JOIN part USING (oid) WHERE pg_has_role(r.oid, c.relowner, 'MEMBER')),
       EXISTS (SELECT FROM pg_class c JOIN part USING (oid) WHERE c.relkind IN ('r', 'p', 'f')
                 AND (has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
                      OR has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE'))),
       EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
               WHERE n.nspname = 'audit' AND p.proname = 'append' AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
                 AND has_schema_privilege(r.oid, n.oid, 'USAGE'))
FROM pg_roles r WHERE r.rolname = current_user
"""
