"""Storing batches and checkpoints until it is certain: one connection and the ledgers that follow it.

A batch keeps its id over every attempt, so it is stored once. Nothing here gives up by itself: the writer cancels what
gets no further and then calls `forget()`, for an attempt that was cut off leaves connection and ledgers in doubt. A ledger
in doubt is kept: it follows what was stored meanwhile before it serves again, and never reads a leaf twice.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TypeVar
from uuid import UUID

from audit.errors import LogUnavailable, SigningRefused
from audit.ledger import Ledger, LogRolledBack, SealedRecord, SignedCheckpoint
from audit.store import AppendConnection, HeadMoved, LogInterrupted, read_tenant

_BACKOFF_FIRST, _BACKOFF_MOST = 0.05, 1.0
_PORTION = 500
"""Leaves that a ledger follows at once: so few that nobody notices the wait for them."""
_READERS = 4
"""Threads that read: one is enough, and those that were given up may hang on a server that has frozen."""
_DATABASE, _KEYS = "the database does not answer", "the keys folder does not answer"

T = TypeVar("T")


class Doubt(Enum):
    """Whether an earlier attempt at a batch may have been committed without our hearing of it."""

    NONE = "none"
    MAY_BE_STORED = "may be stored"


class Committer:
    """Owned by one writer; its coroutines run one at a time."""

    def __init__(self, app_url: str, reader_url: str, keys: Path, origin: str) -> None:
        self.unsigned: dict[str, float] = {}
        """Tenants whose newest records no recorded checkpoint covers, with the monotonic time of their growth."""
        self.broken: dict[str, LogRolledBack] = {}
        """Tenants that take no more records: anything signed for them now would fork their history."""
        self._trouble = ""
        """What the database said when it could not be reached; empty once it has stored something since."""
        self._waits_for = _DATABASE
        self._app_url, self._reader_url = app_url, reader_url
        self._keys, self._origin = keys, origin
        self._connection: AppendConnection | None = None
        self._hand = ThreadPoolExecutor(1, thread_name_prefix="audit signer")
        self._eyes = ThreadPoolExecutor(_READERS, thread_name_prefix="audit reader")
        self._portions = 0
        self._ledgers: dict[str, Ledger] = {}
        self._behind: set[str] = set()
        """Tenants whose ledgers may not know all that is stored."""
        self._reading: _Reading | None = None

    @property
    def portions(self) -> int:
        """Portions of leaves that ledgers have followed so far: while this grows, somebody gets on."""
        return self._portions

    @property
    def stands_still(self) -> str:
        """Why the work that is under way does not get on, as far as anybody here knows."""
        return self._trouble or self._waits_for

    async def store(self, tenant: str, batch_id: UUID, records: Sequence[SealedRecord]) -> int:
        """Append until it is certain and return the first seq; no records make it a probe.

        Raises LogRefused, or LogRolledBack for a log that is not the one that was signed.
        """
        backoff = _BACKOFF_FIRST
        doubt = Doubt.NONE
        while True:
            try:
                first = await self._store_or_follow(tenant, batch_id, records, doubt)
            except LogInterrupted as error:
                doubt = Doubt.MAY_BE_STORED
                await self._back_off(error, backoff)
                backoff = min(2 * backoff, _BACKOFF_MOST)
                continue
            if first is not None:
                self._trouble = ""
                return first

    async def open_log(self, tenant: str) -> None:
        """Rebuild a tenant's ledger now rather than at its first record; raises LogRolledBack."""
        while True:
            try:
                await self._ledger(tenant)
            except LogInterrupted as error:
                await self._back_off(error, _BACKOFF_FIRST)
            else:
                return

    async def checkpoint(self, tenant: str) -> None:
        """Sign the tenant's log as it stands and record the checkpoint, until it is certain.

        Raises SigningRefused or LogRolledBack, and OSError when the keys folder cannot be written.
        """
        while True:
            try:
                grown = self.unsigned.get(tenant)
                await self._sign_and_record(tenant)
            except LogInterrupted as error:
                await self._back_off(error, _BACKOFF_FIRST)
            else:
                if self.unsigned.get(tenant) == grown:
                    self.unsigned.pop(tenant, None)
                return

    def shut(self, tenant: str, error: LogRolledBack) -> LogRolledBack:
        """Take no more records for this tenant until the process starts again."""
        self.broken[tenant] = error
        self.unsigned.pop(tenant, None)
        return error

    def forget(self) -> AppendConnection | None:
        """Drop the connection and doubt the ledgers, which nobody but a later attempt touches from here on.

        The attempt is cancelled already. The caller closes the connection when its last user has ended.
        """
        connection, self._connection = self._connection, None
        if self._reading is not None:
            self._reading.give_up()
        self._behind.update(self._ledgers)
        return connection

    async def disconnect(self) -> None:
        """Close the connection; the next append makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def close(self) -> None:
        """Disconnect for good, and let the threads go."""
        for threads in (self._hand, self._eyes):
            threads.shutdown(wait=False, cancel_futures=True)
        await self.disconnect()

    async def _store_or_follow(self, tenant: str, batch_id: UUID, records: Sequence[SealedRecord], doubt: Doubt) -> int | None:
        """The first seq, or None where another writer was first and its records are known now."""
        try:
            return await self._store_once(tenant, batch_id, records, doubt)
        except HeadMoved as moved:
            await self._follow(tenant, moved)
            return None

    async def _store_once(self, tenant: str, batch_id: UUID, records: Sequence[SealedRecord], doubt: Doubt) -> int:
        connection = await self._connected()
        self._waits_for = _DATABASE
        if not records:
            return (await connection.append(tenant, batch_id, ())).first_seq
        ledger = await self._ledger(tenant)
        numbered = ledger.number(records, time.time_ns() // 1000)
        self._waits_for = _DATABASE
        stored = await connection.append(tenant, batch_id, numbered)
        if doubt is Doubt.MAY_BE_STORED or stored.first_seq != ledger.next_seq:
            # What an earlier attempt stored bears that attempt's time; only the log knows those leaves.
            await self._load(ledger)
        else:
            ledger.committed(numbered)
        self.unsigned.setdefault(tenant, time.monotonic())
        return stored.first_seq

    async def _follow(self, tenant: str, moved: HeadMoved) -> None:
        """Another writer was first: learn its leaves. A head behind ours means a database gone back in time."""
        ledger = self._ledgers[tenant]
        if moved.next_seq < ledger.next_seq:
            raise self.shut(tenant, LogRolledBack(f"log {tenant!r} lost records: restore the newer database"))
        await self._load(ledger)
        ledger.last_ts = max(ledger.last_ts, moved.last_ts)

    async def _connected(self) -> AppendConnection:
        if self._connection is not None and self._connection.usable:
            return self._connection
        self._waits_for = _DATABASE
        await self.disconnect()
        self._connection = await AppendConnection.open(self._app_url)
        return self._connection

    async def _back_off(self, error: LogInterrupted, seconds: float) -> None:
        self._trouble = str(error)
        await self.disconnect()
        await asyncio.sleep(seconds)

    async def _ledger(self, tenant: str) -> Ledger:
        """The tenant's ledger, which knows what is stored; rebuilt from stored leaves on first use."""
        if tenant in self.broken:
            raise self.broken[tenant].with_traceback(None)  # else it would keep the frames of every append it refused
        if tenant not in self._ledgers:
            try:
                self._waits_for = _KEYS
                ledger = await self._apart(self._eyes, lambda: Ledger(tenant, self._keys, self._origin))
            except OSError as error:
                raise LogUnavailable(f"the keys folder cannot be used: {error}") from error
            self._ledgers[tenant] = ledger
            self._behind.add(tenant)
        ledger = self._ledgers[tenant]
        if tenant in self._behind:
            await self._load(ledger)
            self._behind.discard(tenant)
            if ledger.next_seq:
                # Growth may have been left unsigned, or a checkpoint unrecorded, by a process that died.
                self.unsigned.setdefault(tenant, time.monotonic())
        return ledger

    async def _load(self, ledger: Ledger) -> None:
        """Follow what was stored since; whatever ends it, the leaves that were followed need not be read again."""
        self._reading = _Reading(self._reader_url, ledger, self._got_on)
        self._waits_for = f"reading the log of {ledger.tenant!r} does not get on"
        try:
            await self._apart(self._eyes, self._reading.run)
        except LogRolledBack as error:
            raise self.shut(ledger.tenant, error) from error

    def _got_on(self) -> None:
        self._portions += 1

    async def _sign_and_record(self, tenant: str) -> None:
        ledger = await self._ledger(tenant)
        if ledger.next_seq == 0:
            return
        try:
            signed = await self._sign(ledger)
        except SigningRefused:
            # Another process may have signed further than this ledger knows; the log itself decides.
            await self._load(ledger)
            signed = await self._sign(ledger)
        connection = await self._connected()
        self._waits_for = _DATABASE
        await connection.record_checkpoint(tenant, signed.size, signed.root, signed.note)

    async def _sign(self, ledger: Ledger) -> SignedCheckpoint:
        """In one thread, so that signatures take turns."""
        self._waits_for = _KEYS
        return await self._apart(self._hand, ledger.sign)

    @staticmethod
    async def _apart(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        """In threads of its own: whatever floods the loop's delays no record and no checkpoint."""
        return await asyncio.get_running_loop().run_in_executor(threads, work)


class _Reading:
    """Stored leaves on their way into a ledger, by a thread; once it was given up it touches the ledger no more."""

    def __init__(self, reader_url: str, ledger: Ledger, got_on: Callable[[], None]) -> None:
        self._reader_url, self._ledger, self._got_on = reader_url, ledger, got_on
        self._turn = Lock()
        self._given_up = False

    def run(self) -> None:
        """Read portion by portion; raises LogInterrupted, LogRefused or LogRolledBack. Blocking."""
        with read_tenant(self._reader_url, self._ledger.tenant) as reader:
            leaves = reader.leaves(self._ledger.next_seq)
            while portion := list(islice(leaves, _PORTION)):
                with self._turn:
                    if self._given_up:
                        return
                    self._ledger.follow(portion)
                    self._got_on()
        with self._turn:
            if not self._given_up:
                self._ledger.require_signed()

    def give_up(self) -> None:
        """Returns once the portion that is being followed, if any, is in; the thread may wait for the server for longer."""
        with self._turn:
            self._given_up = True
