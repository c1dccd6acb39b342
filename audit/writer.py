"""The writer: one task that puts records of every tenant into the log, many per commit.

`append()` returns only after COMMIT; who can wait leaves it to others to bring that about. While the database is away a batch
is retried under its own id, so nothing is stored twice; after the stall timeout every waiting append fails with
LogUnavailable, further ones are refused at once, and the task keeps probing until a commit succeeds. Records of one append are
stored together and in order. Signed checkpoints follow growth within a second. If the process dies, unacknowledged records may
be in the log or not.

Reading a log that was not opened at the start, which is one made since, holds up the others; no stall makes it read again.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from audit.committer import Committer
from audit.errors import AuditError, LogUnavailable, QueueFull
from audit.ledger import LogRolledBack, SealedRecord
from audit.sealer import Entry, Sealer
from audit.store import AppendConnection

__all__ = ["SYSTEM", "Entry", "Range", "State", "Writer", "WriterConfig"]

SYSTEM = "system"
"""The tenant of global acts; probes touch its head row."""

_BATCH_RECORDS = 1024
_BATCH_WHOLE = 32
"""Records that are stored at once however many wait: fewer would not be worth a commit."""
_BATCH_BYTES = 8 * 1024 * 1024
_CHECKPOINT_SECONDS = 0.8
_REFUSED_SECONDS = 0.25

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Range:
    """Where the records of one append lie in their tenant's log, both ends included."""

    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """What has not come to its end: records in the queue, `size` bytes in all, and for how long growth has gone unsigned.

    `broken` logs take no more records until somebody has looked.
    """

    records: int
    size: int
    unsigned_seconds: float
    broken: int


@dataclass(frozen=True, slots=True)
class WriterConfig:
    """Where the log is and how much may wait: times in seconds, `queue_bytes` counts sealed bodies."""

    app_url: str = field(repr=False)
    reader_url: str = field(repr=False)
    keys: Path
    origin: str
    stall_seconds: float = 5.0
    queue_records: int = 8192
    queue_bytes: int = 64 * 1024 * 1024


class State(Enum):
    """NEW before start(); UP; DOWN after a stall until a commit succeeds; CLOSING takes no new records."""

    NEW = "not started"
    UP = "up"
    DOWN = "down"
    CLOSING = "closed"


@dataclass(slots=True)
class _Pending:
    """One append() that waits for its commit; `done` may have been cancelled by a caller who left."""

    tenant: str
    records: tuple[SealedRecord, ...]
    done: asyncio.Future[Range]
    size: int

    def resolve(self, place: Range) -> None:
        if not self.done.done():
            self.done.set_result(place)

    def fail(self, error: AuditError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Writer:
    """The only way into the log. Every method belongs to one event loop."""

    def __init__(
        self, config: WriterConfig, on_commit: Callable[[int, float], None] = lambda _records, _seconds: None,
        on_signing: Callable[[str, str], None] = lambda _tenant, _trouble: None,
    ) -> None:  # fmt: skip
        """`on_commit` hears of every commit of records: how many, and the seconds that it took; `on_signing` hears once why
        a tenant's checkpoints cannot be written, and once, with no reason, that they can again."""
        self._config, self._on_commit, self._on_signing = config, on_commit, on_signing
        self._sealer = Sealer(config.keys)
        self._committer = Committer(config.app_url, config.reader_url, config.keys, config.origin)
        self._state = State.NEW
        self._queue: deque[_Pending] = deque()
        self._waiting_records = 0
        self._waiting_bytes = 0
        self._last_taken = 0
        self._due = math.inf
        """The monotonic time at which what waits is to be stored."""
        self._wake = asyncio.Event()
        self._unsignable: dict[str, float] = {}
        """Logs whose newest checkpoint could not be written, with the monotonic time of the last attempt."""
        self._told: set[str] = set()
        """Tenants of which it was told that checkpoints cannot be written."""
        self._reason = "it takes no records now"
        self._task: asyncio.Task[None] | None = None
        self._abandoned: set[asyncio.Task[None]] = set()

    async def start(self, tenants: Sequence[str] = ()) -> None:
        """Connect, check the role, open the logs of `tenants`, which takes what reading them takes, and start writing.

        Raises LogUnavailable when the database does not answer in time or a log went back in time, and LogRefused
        for a role with too many rights or a database without our schema.
        """
        try:
            await self._within_stall(self._committer.store(SYSTEM, uuid4(), ()))
            for tenant in tenants:
                await self._within_stall(self._committer.open_log(tenant))
        except BaseException:
            await self._committer.disconnect()
            raise
        self._state = State.UP
        self._task = asyncio.create_task(self._run(), name="audit writer")

    async def append(self, entries: Sequence[Entry], linger: float = 0.0) -> Range:
        """Record entries of one tenant, together and in order; returns after COMMIT.

        Whoever is in no hurry may `linger` for so many seconds: they go with a commit of others, or have one made then.
        Raises InvalidRecord for an entry that cannot be written, QueueFull at once, LogUnavailable when the log
        cannot commit. A caller that is cancelled leaves its records in the queue: they are still stored.
        """
        tenants = {entry.tenant for entry in entries}
        if len(tenants) != 1:
            raise ValueError("append() takes at least one entry, and entries of one tenant only")
        self._refuse_unless_up()
        try:
            records = self._sealer.seal(entries)
        except OSError as error:
            raise LogUnavailable(f"the keys folder cannot be used: {error}") from error
        return await self._enqueue(tenants.pop(), records, linger)

    def hurry(self, linger: float = 0.0) -> None:
        """What lingers does so no longer than this from now: somebody cannot go on without it."""
        if self._queue:
            self._require_in(linger)

    async def probe(self) -> None:
        """Prove that the log can commit now; raises LogUnavailable."""
        self._refuse_unless_up()
        await self._enqueue(SYSTEM, (), 0.0)

    @property
    def healthy(self) -> bool:
        """Whether records are accepted, and signed checkpoints follow, for every tenant."""
        return self._state is State.UP and not self._committer.broken and not self._unsignable

    @property
    def waiting(self) -> Waiting:
        """What waits now, from any thread; of the logs that grew unsigned the one that has waited longest counts."""
        oldest = min(list(self._committer.unsigned.values()), default=None)  # a copy, for the loop may add to it
        seconds = 0.0 if oldest is None else time.monotonic() - oldest
        return Waiting(self._waiting_records, self._waiting_bytes, seconds, len(self._committer.broken))

    async def close(self) -> None:
        """Take no new records, store the waiting ones, sign what grew, and disconnect."""
        self._state = State.CLOSING
        self._wake.set()
        task, self._task = self._task, None
        try:
            if task is not None:
                await task
        finally:
            await self._committer.close()
            if self._abandoned:
                await asyncio.wait(self._abandoned, timeout=self._config.stall_seconds)

    def _refuse_unless_up(self) -> None:
        if self._state is not State.UP:
            raise LogUnavailable(f"the log is {self._state.value}: {self._reason}")

    async def _enqueue(self, tenant: str, records: tuple[SealedRecord, ...], linger: float) -> Range:
        size = sum(len(record.sealed) for record in records)
        full = self._waiting_records + len(records) > self._config.queue_records
        if full or self._waiting_bytes + size > self._config.queue_bytes:
            raise QueueFull(f"{self._waiting_records} records wait for the log; try again shortly")
        pending = _Pending(tenant, records, asyncio.get_running_loop().create_future(), size)
        self._queue.append(pending)
        self._waiting_records += len(records)
        self._waiting_bytes += size
        self._require_in(linger)
        return await pending.done

    def _require_in(self, seconds: float) -> None:
        due = time.monotonic() + seconds
        if due < self._due:
            self._due = due
            self._wake.set()

    async def _run(self) -> None:
        """The writer's task; whatever ends it, nobody is left waiting."""
        try:
            while self._queue or self._state is not State.CLOSING:
                await (self._try_to_recover() if self._state is State.DOWN else self._work())
            await self._sign(time.monotonic())
        finally:
            self._state = State.CLOSING
            self._fail_queue(LogUnavailable("the writer has stopped"))

    async def _work(self) -> None:
        """Wait for records or for a checkpoint to be due, then commit what waits and sign what grew."""
        await self._until_due()
        batches = self._take()
        try:
            for tenant, batch in batches.items():
                await self._commit(tenant, batch)
        except BaseException:
            error = LogUnavailable("the writer failed; the gateway's own log says why")
            for batch in batches.values():  # later than those that are about to hear of their commit
                asyncio.get_running_loop().call_soon(_fail, batch, error)
            raise
        await self._sign(time.monotonic() - _CHECKPOINT_SECONDS)

    async def _until_due(self) -> None:
        """A checkpoint that is due, or the writer's end, takes those along that would have lingered."""
        sign_at = min(map(self._tried, self._committer.unsigned), default=math.inf) + _CHECKPOINT_SECONDS
        while self._state is not State.CLOSING and (seconds := min(self._due, sign_at) - time.monotonic()) > 0:
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if seconds == math.inf else seconds):
                    await self._wake.wait()

    def _take(self) -> dict[str, list[_Pending]]:
        """The next batches by tenant, in the order of arrival; an append is never split.

        Of many one half first, so that those who wait for one half seal their next records while the database stores the other.
        """
        batches: dict[str, list[_Pending]] = {}
        most = min(_BATCH_RECORDS, max(_BATCH_WHOLE, self._waiting_records // 2, self._last_taken))
        records = size = 0
        while self._queue and records < most and size < _BATCH_BYTES:
            pending = self._queue.popleft()
            records += len(pending.records)
            size += pending.size
            batches.setdefault(pending.tenant, []).append(pending)
        self._waiting_records -= records
        self._waiting_bytes -= size
        self._last_taken = records
        self._due = time.monotonic() if self._queue else math.inf
        return batches

    async def _commit(self, tenant: str, batch: list[_Pending]) -> None:
        records, begun = [record for pending in batch for record in pending.records], time.perf_counter()
        try:
            if self._state is State.DOWN:
                self._refuse_unless_up()
            first = await self._within_stall(self._committer.store(tenant, uuid4(), records))
        except _Stalled as error:
            self._go_down(error)
            _fail(batch, error)
            if records:  # they may have been stored all the same, and then they are to be signed
                self._committer.unsigned.setdefault(tenant, time.monotonic())
        except AuditError as error:
            _fail(batch, error)
        else:
            if records:
                self._on_commit(len(records), time.perf_counter() - begun)
            # Not at once: who waited seals its next records then, and the next batch is to be on its way before that.
            asyncio.get_running_loop().call_soon(_resolve, batch, first)

    async def _sign(self, before: float) -> None:
        """Sign every log that grew before that monotonic time; what fails for a passing reason stays due."""
        for tenant in [tenant for tenant in self._committer.unsigned if self._tried(tenant) <= before]:
            if self._state is State.DOWN:
                return
            try:
                await self._within_stall(self._committer.checkpoint(tenant))
                self._unsignable.pop(tenant, None)
                self._tell(tenant)
            except _Stalled as error:
                self._tell(tenant, error)
                self._go_down(error)
                return
            except LogRolledBack as error:
                self._tell(tenant, error)  # the committer has shut this log
            except (OSError, LogUnavailable) as error:
                self._tell(tenant, error)
                self._reason = f"checkpoints cannot be written: {error}"
                self._unsignable[tenant] = time.monotonic()
            except AuditError as error:
                self._tell(tenant, error)
                self._committer.shut(tenant, LogRolledBack(f"log {tenant!r} cannot be signed: {error}"))

    def _tell(self, tenant: str, trouble: Exception | None = None) -> None:
        """Once when it begins, and once when it has passed: signing is tried about once a second."""
        if (trouble is None) is (tenant in self._told):
            self._told ^= {tenant}
            self._on_signing(tenant, "" if trouble is None else str(trouble))

    def _tried(self, tenant: str) -> float:
        """The monotonic time at which a log grew, or since then was last tried to be signed."""
        return max(self._committer.unsigned[tenant], self._unsignable.get(tenant, -math.inf))

    async def _within_stall(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work until it has not got on for the stall timeout, even against a server that has frozen.

        Only reading a log gets on before it is done: a large one may take its time, and its end is certain.
        """
        task, seen = asyncio.create_task(work), -1
        try:
            while not task.done() and seen != self._committer.portions:
                seen = self._committer.portions
                await asyncio.wait({task}, timeout=self._config.stall_seconds)
        except asyncio.CancelledError:
            self._abandon(task)
            raise
        if task.done():
            return task.result()
        reason = self._committer.stands_still
        self._abandon(task)
        raise _Stalled(f"no commit for {self._config.stall_seconds:g} s: {reason}")

    def _abandon(self, task: asyncio.Task[Any]) -> None:
        """Cancelling may itself wait for the server, so the work ends alone, with the connection it had."""
        task.cancel()  # first: what was given up must not run on beside its successor
        ending = asyncio.create_task(_end(task, self._committer.forget()))
        self._abandoned.add(ending)
        ending.add_done_callback(self._abandoned.discard)

    def _go_down(self, error: AuditError) -> None:
        self._reason = str(error)
        if self._state is State.UP:
            self._state = State.DOWN
        self._fail_queue(error)

    def _fail_queue(self, error: AuditError) -> None:
        _fail(self._queue, error)
        self._queue.clear()
        self._waiting_records = self._waiting_bytes = 0

    async def _try_to_recover(self) -> None:
        try:
            await self._within_stall(self._committer.store(SYSTEM, uuid4(), ()))
        except _Stalled:
            return
        except AuditError as error:
            self._reason = str(error)
            await asyncio.sleep(_REFUSED_SECONDS)
            return
        if self._state is State.DOWN:
            self._state = State.UP


class _Stalled(LogUnavailable):
    """The stall timeout ran out."""


async def _end(task: asyncio.Task[Any], connection: AppendConnection | None) -> None:
    # Awaited, so that the task lets go of its error: whoever keeps ours would keep a half-open connection with it.
    with suppress(asyncio.CancelledError, Exception):
        await task
    if connection is not None:
        await connection.close()


def _resolve(batch: Sequence[_Pending], first: int) -> None:
    for pending in batch:
        last = first + len(pending.records) - 1
        pending.resolve(Range(first, last))
        first = last + 1


def _fail(batch: Sequence[_Pending] | deque[_Pending], error: AuditError) -> None:
    for pending in batch:
        pending.fail(error)
