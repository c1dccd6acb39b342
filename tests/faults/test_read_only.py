"""A primary that becomes read-only under the writer: nothing is acknowledged until it takes writes again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import psycopg
import pytest

from audit.errors import LogUnavailable
from gateway.postgres_place import write_private
from tests.audit.writer_samples import Place, entry
from tests.waiting import until

STALL = 0.5


def administer(place: Place, *statements: str) -> None:
    """Run statements as the superuser, each by itself."""
    with psycopg.connect(place.database.superuser_url, autocommit=True) as superuser:
        for statement in statements:
            superuser.execute(statement)


@asynccontextmanager
async def switched(place: Place) -> AsyncIterator[None]:
    """An administrator makes every new transaction read-only, and later takes that back."""
    administer(place, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    await until(lambda: _refuses_writes(place))
    try:
        yield
    finally:
        administer(place, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")


@asynccontextmanager
async def demoted(place: Place) -> AsyncIterator[None]:
    """The server comes back as a standby that nobody feeds, and is later promoted: the log goes on, on another timeline."""
    server = place.database.server
    await asyncio.to_thread(server.stop)
    write_private(server.place.data / "standby.signal", b"", server.place.account)
    await asyncio.to_thread(server.start)
    assert place.ask("SELECT pg_is_in_recovery()")
    try:
        yield
    finally:
        assert place.ask("SELECT pg_promote()")


def _refuses_writes(place: Place) -> bool:
    """Whether a new transaction of the writer's own role may only read."""
    with psycopg.connect(place.database.app_url) as connection:
        row = connection.execute("SHOW transaction_read_only").fetchone()
    return row == ("on",)


@pytest.mark.parametrize("fault", [switched, demoted])
async def test_a_read_only_database_is_an_outage_that_passes(
    durable: Place, fault: Callable[[Place], AbstractAsyncContextManager[None]]
) -> None:
    """While writes are refused with 25006 appends fail after the stall; then the same writer serves on, and nothing is lost."""
    async with durable.writing(stall_seconds=STALL) as writer:
        await writer.append([entry("before")])
        async with fault(durable):
            assert _refuses_writes(durable)
            lost = await asyncio.gather(*(writer.append([entry("lost")]) for _ in range(3)), return_exceptions=True)
            assert all(isinstance(each, LogUnavailable) for each in lost)
            assert not writer.healthy
        await until(lambda: writer.healthy)
        await writer.append([entry("after")])
    assert durable.said() == ["before", "after"]
    assert durable.verdict() == 0
