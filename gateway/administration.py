"""Changes to tenants, users and keys: on record before they are in force, whatever dies in between.

    administration = Administration(writer, urls, settings.keys)
    await administration.make("acme", person, new_user(...))

Under a lock of the tenant, which all processes share: decide, stage (commit), record (commit in the log), put into force and
unstage (one commit). What is left if the process dies: before the staging nothing; after it a staged change, which the next
start or change records, if the log does not have it yet, and puts into force. So a change in force always has its record.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeAlias, TypeVar

from sqlalchemy import Connection, create_engine, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from audit.acts import Act
from audit.errors import AuditError
from audit.header import decode_header, uuid7
from audit.keys import KeyStore
from audit.records import encode_body
from audit.sealer import open_body
from audit.store import read_tenant
from audit.writer import Entry
from gateway.appending import Log, append_when_room
from gateway.changes import Change, from_document, to_document
from gateway.database import Urls
from gateway.on_record import writing
from gateway.people.lookup import operators
from gateway.people.person import Account, Actor
from gateway.registry import RegistryError
from gateway.settings import Settings, sqlalchemy_url
from gateway.tables import StagedChange, User
from migrations.cluster import found_busy

Decide: TypeAlias = Callable[[Session, Actor], Change | None]
"""Says under the lock what is to change, None for nothing; raises RegistryError for what may not be."""
P = ParamSpec("P")
T = TypeVar("T")
_Record: TypeAlias = Callable[[str, str, tuple[Act, ...]], None]

PATIENCE: Final = "-c lock_timeout=20s"


class Unfinished(RegistryError):
    """A change was decided and the log could not take it; it is kept, and finished later."""


class Administration:
    """The only way to change tenants, users and keys. Its methods belong to the event loop of the log."""

    def __init__(self, log: Log, urls: Urls, keys: Path) -> None:
        # No pool: the lock goes when the connection does, at the latest with the process.
        self._engine = create_engine(
            sqlalchemy_url(urls.app, PATIENCE), poolclass=NullPool, connect_args={"connect_timeout": 3}
        )
        # A thread of its own: whoever waits for the lock in a shared one would keep it from the log that the holder waits for.
        self._thread = ThreadPoolExecutor(1, "administration")
        self._log = log
        self._reader_url = urls.reader
        self._keys = keys

    async def make(self, tenant: str, by: Actor, decide: Decide) -> Change | None:
        """Decide and make one change, on record in the log of `tenant`; None if there was nothing to change.

        Raises what `decide` raises, InvalidRecord for what no record can say, and Unfinished. A change that was begun is made
        even if its caller is cancelled.
        """
        return await self._in_turn(self._make, tenant, by, decide, self._recorder())

    async def finish(self) -> None:
        """Put into force what processes that died have left staged, for every tenant. Raises Unfinished."""
        await self._in_turn(self._finish_all, self._recorder())

    async def _in_turn(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do it in this object's thread, to its end even if the caller is cancelled: the log must not close before."""
        working = asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *args, **kwargs))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait({working})
            working.exception()  # looked at, or the loop would report it as lost
            raise

    def _make(self, tenant: str, by: Actor, decide: Decide, record: _Record) -> Change | None:
        with self._turn(tenant) as connection:
            self._finish(connection, tenant, record)
            with Session(connection) as session:
                change = decide(session, by)
            if change is None:
                return None
            for act in change.acts(by.on_record):
                encode_body(act)  # what no record can say is refused before it is staged
            self._stage(connection, tenant, by.on_record, change)
            self._finish(connection, tenant, record)
        return change

    def _finish_all(self, record: _Record) -> None:
        with Session(self._engine) as session:
            tenants = session.scalars(select(StagedChange.tenant).distinct()).all()
        for tenant in tenants:
            with self._turn(tenant) as connection:
                self._finish(connection, tenant, record)

    @contextmanager
    def _turn(self, tenant: str) -> Iterator[Connection]:
        """A connection that alone, in all processes, changes what belongs to the tenant."""
        with self._engine.connect() as connection:
            try:
                connection.execute(select(func.pg_advisory_lock(_key(tenant))))
            except OperationalError as error:
                if not found_busy(error):
                    raise
                raise RegistryError(f"another change to {tenant!r} is under way: try again shortly") from error
            connection.commit()
            yield connection

    def _stage(self, connection: Connection, tenant: str, by: str, change: Change) -> None:
        with read_tenant(self._reader_url, tenant) as reader:
            size = reader.size()
        row = {"id": uuid7(), "tenant": tenant, "requested_by": by, "log_size": size, "change": to_document(change)}
        connection.execute(insert(StagedChange).values(row))
        connection.commit()

    def _finish(self, connection: Connection, tenant: str, record: _Record) -> None:
        """Record and put into force what is staged for the tenant, oldest first."""
        with Session(connection) as session:
            staged = session.scalars(select(StagedChange).where(StagedChange.tenant == tenant).order_by(StagedChange.id)).all()
        for row in staged:
            change = from_document(row.change)
            acts = change.acts(row.requested_by)
            if not self._recorded(tenant, row.log_size, acts[0]):
                record(tenant, row.requested_by, acts)
            with Session(connection) as session:
                change.apply(session)
                session.execute(delete(StagedChange).where(StagedChange.id == row.id))
                session.commit()

    def _recorded(self, tenant: str, since: int, act: Act) -> bool:
        """Whether the log has the act at that seq or later. Acts of a tenant take turns, so an equal one is the same."""
        keys = KeyStore(self._keys)
        with read_tenant(self._reader_url, tenant) as reader:
            for row in reader.acts(since):
                if row.body is not None and open_body(keys, decode_header(row.header), row.body) == act:
                    return True
        return False

    def _recorder(self) -> _Record:
        """Appends from another thread, in the event loop that is running now."""
        loop = asyncio.get_running_loop()

        def record(tenant: str, by: str, acts: tuple[Act, ...]) -> None:
            entries = [Entry(tenant, None, by, None, act) for act in acts]
            try:
                asyncio.run_coroutine_threadsafe(append_when_room(self._log, entries), loop).result()
            except AuditError as error:
                raise Unfinished(f"{error}; the change is kept, and the next change or start records and makes it") from error

        return record


def make_change(settings: Settings, urls: Urls, tenant: str, by: Actor, decide: Decide) -> Change | None:
    """Make one change as a command does, beside a gateway that may be running; see `Administration.make`. Blocking."""

    async def make() -> Change | None:
        async with writing(settings, urls, tenant) as writer:
            return await Administration(writer, urls, settings.keys).make(tenant, by, decide)

    return asyncio.run(make())


def require_operator(session: Session, tenant: str, by: Actor) -> None:
    """Raise RegistryError unless the actor may change what belongs to the tenant, as of now.

    That takes an operator of the tenant or of `system`. Only while the tenant has no enabled operator, an account of the
    operating system will do: somebody has to make the first one.
    """
    if isinstance(by, Account):
        if session.scalars(operators().where(User.tenant == tenant).limit(1)).first() is not None:
            raise RegistryError(f"tenant {tenant!r} has operators: name one of them with --by")
    elif not by.serves(tenant) or session.scalar(operators().where(User.id == by.id)) is None:
        raise RegistryError(f"{by.on_record!r} is no operator of {tenant!r}")


def _key(tenant: str) -> int:
    """The 64-bit lock number of a tenant; a clash would only make two tenants take turns."""
    digest = hashlib.sha256(b"palimpsest/administration\0" + tenant.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
