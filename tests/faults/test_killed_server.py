"""A PostgreSQL that was killed outright: what is there at once, and what a start does while the dead are still being buried."""

from __future__ import annotations

from tests.audit.writer_samples import Place, entry
from tests.faults.rounds import kill_server
from tests.waiting import until


async def test_a_killed_server_starts_again_at_once(durable: Place) -> None:
    """kill -9 of postmaster and sessions, and a start in the same moment, twice: every acknowledged record is there."""
    async with durable.writing() as writer:
        for number in range(2):
            await writer.append([entry(f"{number}")])
            kill_server(durable.database.server)
            durable.database.server.start()
        await writer.append([entry("2")])
        await until(lambda: writer.healthy)
    assert durable.said() == list("012")
    assert durable.verdict() == 0
