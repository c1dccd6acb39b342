"""A connection that breaks around a COMMIT: whatever the server made of it, a record is stored once and acknowledged once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from audit.errors import LogUnavailable
from audit.writer import Range
from tests.audit.writer_samples import Place, entry
from tests.faults.severed import SOCKET, Moment, severing, through
from tests.waiting import until


@pytest.mark.parametrize("moment", list(Moment))
async def test_a_commit_that_loses_its_connection_is_stored_once(durable: Place, moment: Moment) -> None:
    """Cut before, at or after the server's work, every append is acknowledged where it lies, and nothing lies twice."""
    async with severing(durable.database.app_url, moment) as (proxy, url), durable.writing(app_url=url) as writer:
        assert await writer.append([entry("before")]) == Range(0, 0)
        proxy.cuts = 3
        assert await writer.append([entry("one"), entry("two")]) == Range(1, 2)
        proxy.cuts += 1
        many = await asyncio.gather(*(writer.append([entry(f"many {number}")]) for number in range(20)))
        assert writer.healthy
    assert sorted(place.first_seq for place in many) == list(range(3, 23))
    assert [durable.said()[place.first_seq] for place in many] == [f"many {number}" for number in range(20)]
    assert durable.said()[:3] == ["before", "one", "two"] and len(durable.said()) == 23
    assert proxy.cuts == 0 and proxy.made >= 4
    assert durable.verdict() == 0


async def test_without_a_cut_the_proxy_changes_nothing(durable: Place) -> None:
    """The proxy itself is invisible: a log written through it verifies."""
    async with severing(durable.database.app_url, Moment.SENT) as (proxy, url), durable.writing(app_url=url) as writer:
        assert await writer.append([entry("one"), entry("two")]) == Range(0, 1)
    assert proxy.made == 0
    assert durable.said() == ["one", "two"] and durable.verdict() == 0


async def test_an_attempt_that_is_given_up_hangs_up(durable: Place) -> None:
    """A server that takes connections and says nothing is left alone after the stall, even while the error is being kept."""
    heard: list[bytes] = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())  # returns when the client has hung up
        writer.close()

    with TemporaryDirectory(prefix="mute-") as folder:
        async with await asyncio.start_unix_server(say_nothing, str(Path(folder) / SOCKET)):
            url = through(durable.database.app_url, folder)
            with pytest.raises(LogUnavailable) as kept:
                await durable.writer(app_url=url, stall_seconds=0.2).start()
            await until(lambda: len(heard) == 1)
    assert "no commit for 0.2 s" in str(kept.value)
