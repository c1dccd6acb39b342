"""What nobody will end is ended once, and what somebody still serves is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from audit.errors import LogUnavailable
from audit.header import uuid7
from audit.keys import KeyStore
from audit.records import RequestAbandoned, RequestClose
from audit.stories import Ending
from audit.verify import Verdict
from audit.writer import Entry, Writer
from engine.events import FinishReason
from engine.request import Mode
from gateway.appending import Log
from gateway.presence import Presence
from gateway.reconcile import Reconciler
from gateway.settings import DatabaseUrl
from gateway.testimony import Tally, close
from tests.audit.writer_samples import TENANT
from tests.engine.harness import asked
from tests.gateway.generating import Failing
from tests.gateway.tenant_log import TenantLog, end_lock_sessions, entry, opened
from tests.waiting import until

PATIENT = 1000.0
"""Seconds that no test waits for."""


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.reconcile.SETTLE_SECONDS", 0.05)
    monkeypatch.setattr("gateway.reconcile.BEAT_SECONDS", 0.05)


@contextmanager
def living(log: TenantLog, instance: UUID) -> Iterator[Presence]:
    """The presence of an instance that lives until the block ends."""
    presence = Presence(DatabaseUrl(log.database.app_url), instance)
    try:
        presence.beat()
        yield presence
    finally:
        presence.close()


@asynccontextmanager
async def reconciler(
    log: TenantLog, writer: Log, healthy: Callable[[], bool] = lambda: True, doubt_seconds: float = 0.0
) -> AsyncIterator[tuple[UUID, Reconciler]]:
    """A living instance with its reconciler, which does not run yet."""
    instance = uuid7()
    with living(log, instance) as presence:
        reader_url = DatabaseUrl(log.database.reader_url)
        yield instance, Reconciler(writer, reader_url, KeyStore(log.keys), presence, instance, healthy, doubt_seconds)


@asynccontextmanager
async def running(made: Reconciler, *tenants: str) -> AsyncIterator[None]:
    """The reconciler at work, until the block ends."""
    task = asyncio.create_task(made.run(tenants or (TENANT,)))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def open_request(writer: Writer, instance: UUID) -> UUID:
    """A request that `instance` has begun to serve."""
    request = asked(Mode.AR)
    await opened(writer, request, instance)
    return request.id


async def close_request(writer: Writer, request: UUID, records: int) -> None:
    """Its end, as its own instance would record it."""
    finished = Tally().finished(request, 3, FinishReason.ABORTED)
    await writer.append([entry(request, close(finished, records).body)])


async def swept(log: TenantLog, writer: Writer, own: tuple[UUID, Reconciler]) -> None:
    """Wait until a running reconciler has swept: an orphan of its own is ended after the sweep, never before."""
    marker = await open_request(writer, own[0])
    own[1].orphan(TENANT, marker)
    await until(lambda: ended(log, marker))


def ended(log: TenantLog, request: UUID) -> bool:
    """Whether the log holds the request's end."""
    return request not in {item.request for item in log.unfinished()}


def abandoned(log: TenantLog, request: UUID) -> list[RequestAbandoned]:
    """The records that say that nobody ended the request."""
    return [body for body in log.bodies(request) if isinstance(body, RequestAbandoned)]


async def test_requests_of_a_dead_instance_are_abandoned(log: TenantLog, tmp_path: Path) -> None:
    """Each gets one record more, its last, which names the finder and the record before it; the log still verifies."""
    dead = uuid7()
    async with log.writing() as writer:
        first, second = await open_request(writer, dead), await open_request(writer, dead)
        tail = await writer.append([entry(first, body) for body in log.bodies(first)[1:2]])
        async with reconciler(log, writer) as (instance, made), running(made):
            await until(lambda: ended(log, first) and ended(log, second))
        assert log.bodies(first)[-1] == RequestAbandoned(found_by=instance, last_seq=tail.last_seq)
        assert log.bodies(second)[-1] == RequestAbandoned(found_by=instance, last_seq=tail.first_seq - 1)
        assert [len(log.bodies(request)) for request in (first, second)] == [5, 4]
    report = log.verified(tmp_path / "out")
    assert (report.verdict, report.requests[Ending.ABANDONED]) == (Verdict.VERIFIED, 2)


async def test_the_living_and_the_closed_are_untouched(log: TenantLog) -> None:
    """A request of a living instance, one of the own instance and one that is closed get no record."""
    dead, other = uuid7(), uuid7()
    async with log.writing() as writer, reconciler(log, writer) as (instance, made):
        with living(log, other):
            served, own = await open_request(writer, other), await open_request(writer, instance)
            closed, left = await open_request(writer, dead), await open_request(writer, dead)
            await close_request(writer, closed, records=4)
            async with running(made):
                await swept(log, writer, (instance, made))
        assert [len(log.bodies(request)) for request in (served, own, closed, left)] == [3, 3, 4, 4]
        assert isinstance(log.bodies(closed)[-1], RequestClose)
        assert len(abandoned(log, left)) == 1


async def test_orphans_of_the_own_process_are_ended(log: TenantLog) -> None:
    """A request told as an orphan is abandoned although its instance lives; its siblings are not."""
    async with log.writing() as writer, reconciler(log, writer) as (instance, made), running(made):
        sibling, orphan = await open_request(writer, instance), await open_request(writer, instance)
        before = log.last_seq(orphan)
        made.orphan(TENANT, orphan)
        await until(lambda: ended(log, orphan))
        await swept(log, writer, (instance, made))
        assert abandoned(log, orphan) == [RequestAbandoned(found_by=instance, last_seq=before)]
        assert abandoned(log, sibling) == []


async def test_an_orphan_without_an_opening_leaves_no_record(log: TenantLog) -> None:
    """An orphan that the log never heard of, or that was closed after all, is forgotten in silence."""
    async with log.writing() as writer, reconciler(log, writer) as (instance, made), running(made):
        unheard, closed = uuid4(), await open_request(writer, instance)
        await close_request(writer, closed, records=4)
        made.orphan(TENANT, unheard)
        made.orphan(TENANT, closed)
        await swept(log, writer, (instance, made))
        assert (len(log.bodies(unheard)), len(log.bodies(closed))) == (0, 4)
        assert log.size() == 8


async def test_a_commit_that_was_given_up_on_may_still_land(log: TenantLog) -> None:
    """An orphan that is not open is looked for while its commit may be on its way: while the log is down, and a time after."""
    up, looks = False, 0

    def healthy() -> bool:
        nonlocal looks
        looks += 1
        return up

    async def looked_again() -> None:
        enough = looks + 4
        await until(lambda: looks >= enough)

    async with log.writing() as writer, reconciler(log, writer, healthy) as (instance, made), running(made):
        while_down, after, never = asked(Mode.AR), asked(Mode.AR), uuid4()
        for request in (while_down.id, after.id, never):
            made.orphan(TENANT, request)
        await swept(log, writer, (instance, made))
        await looked_again()
        await opened(writer, while_down, instance)
        await until(lambda: ended(log, while_down.id))
        made._doubt_seconds, up = 1000.0, True
        await looked_again()
        await opened(writer, after, instance)
        await until(lambda: ended(log, after.id))
        made._doubt_seconds = 0.0
        assert [len(abandoned(log, request)) for request in (while_down.id, after.id, never)] == [1, 1, 0]
        await until(lambda: not made._orphans[TENANT])


async def test_two_starts_abandon_each_request_once(log: TenantLog, tmp_path: Path) -> None:
    """Two processes that sweep one database at the same time leave one record per request between them."""
    async with log.writing() as writer, log.writing() as other_writer:
        left = [await open_request(writer, instance) for instance in [uuid7() for _ in range(3)] for _ in range(2)]
        async with (
            reconciler(log, writer) as one,
            reconciler(log, other_writer) as other,
            running(one[1]),
            running(other[1]),
        ):
            await asyncio.gather(swept(log, writer, one), swept(log, other_writer, other))
            await until(lambda: len(log.unfinished()) == 0)
        assert [len(abandoned(log, request)) for request in left] == [1] * 6
    assert log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_a_log_that_cannot_commit_is_tried_again(log: TenantLog) -> None:
    """What could not be recorded is recorded once when the log is back."""
    async with log.writing() as writer:
        failing = Failing(writer, lambda number, _: LogUnavailable("the disk is full") if number < 3 else None)
        left = [await open_request(writer, uuid7()) for _ in range(2)]
        async with reconciler(log, failing) as (_, made), running(made):
            await until(lambda: all(ended(log, request) for request in left))
        assert failing.failed == 3
        assert [len(abandoned(log, request)) for request in left] == [1, 1]


async def test_one_broken_log_does_not_hold_up_the_others(log: TenantLog) -> None:
    """A tenant whose log takes no records keeps neither other tenants from their sweep nor orphans from their end."""
    broken, request = "aaa", asked(Mode.AR)
    async with log.writing() as writer:
        left = await open_request(writer, uuid7())
        record = log.bodies(left)[0]
        await writer.append([entry(request.id, record, tenant=broken)])

        def trouble(_: int, entries: Sequence[Entry]) -> LogUnavailable | None:
            return LogUnavailable("the disk is full") if entries[0].tenant == broken else None

        failing = Failing(writer, trouble)
        async with reconciler(log, failing) as own, running(own[1], broken, TENANT):
            await until(lambda: ended(log, left))
            await swept(log, writer, own)
        assert failing.failed > 0


async def test_peers_may_come_back_before_a_sweep(log: TenantLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the server has dropped every session, living peers get the time to take up their locks again."""
    settling, settled, sleep = asyncio.Event(), asyncio.Event(), asyncio.sleep

    async def until_settled(seconds: float) -> None:
        if seconds == PATIENT:
            settling.set()
            await settled.wait()
        else:
            await sleep(seconds)

    monkeypatch.setattr("gateway.reconcile.SETTLE_SECONDS", PATIENT)
    monkeypatch.setattr(asyncio, "sleep", until_settled)
    peer = uuid7()
    async with log.writing() as writer, reconciler(log, writer) as (_, made):
        with living(log, peer) as presence:
            served = await open_request(writer, peer)
            end_lock_sessions(log.database)
            sweep = asyncio.create_task(made._round({TENANT}))
            await until(settling.is_set)
            assert not await asyncio.to_thread(presence.beat)
            settled.set()
            await sweep
        assert abandoned(log, served) == []
