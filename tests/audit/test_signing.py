"""The writer promises to sign every growth soon, and nothing but the log that it signed before."""

import asyncio
import traceback
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from audit.errors import LogUnavailable
from audit.ledger import LogRolledBack
from audit.store import AppendConnection
from audit.writer import Range
from tests.audit.log_samples import run_of
from tests.audit.writer_samples import TENANT, Place, blocked, entry, impatient
from tests.postgres_fixtures import Database
from tests.waiting import until

CROWD = 96
"""More than the writer stores at once: whenever it has stored something, the records of others wait."""


async def test_a_checkpoint_follows_growth(place: Place) -> None:
    """Soon after an append a signed checkpoint covers it, in the database and in the file."""
    async with place.writing() as writer:
        for size in (1, 2):
            await writer.append([entry(str(size))])
            await until(lambda size=size: place.covered() == size)  # type: ignore[misc]
        assert place.filed() == [1, 2]
        assert writer.healthy


async def test_growth_that_never_stops_is_signed_too(place: Place) -> None:
    """Checkpoints follow while appends keep coming, without waiting for a pause."""
    async with place.writing() as writer:
        ended = asyncio.Event()

        async def append_on(text: str) -> None:
            while not ended.is_set():
                await writer.append([entry(text)])

        appending = [asyncio.create_task(append_on(str(number))) for number in range(CROWD)]
        await until(lambda: len(place.checkpoints()) >= 2)
        ended.set()
        await asyncio.gather(*appending)


async def test_closing_signs_everything(place: Place) -> None:
    """After close() the newest checkpoint covers every record that was waiting, and the export verifies."""
    writer = place.writer()
    await writer.start()
    appends = [asyncio.create_task(writer.append([entry(str(number))])) for number in range(5)]
    await asyncio.sleep(0)
    await writer.close()
    assert await asyncio.gather(*appends) == [Range(number, number) for number in range(5)]
    assert place.covered() == 5
    assert place.verdict() == 0


@pytest.mark.parametrize("folder", ["signers", "checkpoints"])
async def test_unusable_signing_is_reported_and_made_up_for(place: Place, folder: str) -> None:
    """While checkpoints cannot be signed or filed the writer says so and records on; later none is missing."""
    async with place.writing() as writer:
        await writer.append([entry("0")])
        await until(lambda: place.covered() == 1)
        with blocked(place.keys / folder):
            await writer.append([entry("1")])
            await until(lambda: not writer.healthy)
            await writer.probe()
            assert place.ask("SELECT max(size) FROM audit.checkpoint") == 1
        await until(lambda: writer.healthy)
        assert place.covered() == 2
    assert place.filed() == [1, 2]
    assert place.verdict() == 0


async def test_growth_that_cannot_be_signed_ages(place: Place) -> None:
    """What waits for a checkpoint is as old as its growth, however often signing was tried in vain: an alarm goes by it."""
    async with place.writing() as writer:
        await writer.append([entry("0")])
        await until(lambda: place.covered() == 1)
        with blocked(place.keys / "signers"):
            await writer.append([entry("1")])
            await until(lambda: writer.waiting.unsigned_seconds > 2.5)
            assert not writer.healthy
        await until(lambda: writer.healthy)
        assert writer.waiting.unsigned_seconds == 0.0


async def test_signing_is_made_up_for_after_a_stall(place: Place) -> None:
    """A keys folder that cannot be read when a log is opened again after a stall is waited for, not fatal."""
    async with place.writing() as writer:
        await writer.append([entry("before")])
        with blocked(place.keys / "signers"):
            with place.held(), impatient(writer, 0.5), pytest.raises(LogUnavailable):
                await writer.append([entry("lost")])
            await until(lambda: bool(writer._unsignable))
            assert not writer.healthy
        await until(lambda: writer.healthy)
        assert place.covered() == len(place.said()) >= 1


async def test_growth_left_by_a_dead_process_is_signed(place: Place) -> None:
    """A writer that opens a log signs what an earlier process stored and did not sign, without a new record."""
    connection = await AppendConnection.open(place.database.app_url)
    await connection.append(TENANT, uuid4(), run_of(0, 3))
    await connection.close()
    async with place.writing(TENANT):
        await until(lambda: place.covered() == 3)


async def _sign_two(place: Place) -> None:
    size = len(place.said())
    async with place.writing() as writer:
        await writer.append([entry(str(size)), entry(str(size + 1))])
    assert place.covered() == size + 2


def _signed(place: Place) -> dict[Path, bytes]:
    folders = (place.keys / "signers", place.keys / "checkpoints")
    return {path: path.read_bytes() for folder in folders for path in folder.rglob("*.json*")}


async def test_a_log_that_lost_records_takes_no_more(place: Place) -> None:
    """A log taken back in time under a running writer is refused and not signed; other logs go on."""
    await _sign_two(place)
    await _sign_two(place)
    async with place.writing(TENANT) as writer:
        await until(lambda: not writer._committer.unsigned)
        before = _signed(place)
        place.restore(2)
        for _ in range(2):
            with pytest.raises(LogRolledBack, match="restore the newer"):
                await writer.append([entry("fork")])
            assert not writer.healthy
        await writer.append([entry("elsewhere", "bolt")])
    assert place.said() == ["0", "1"]
    assert place.covered() == 2
    assert before.items() <= _signed(place).items()
    assert place.verdict("bolt") == 0


@pytest.mark.parametrize("size", [0, 2])
async def test_a_database_from_the_past_is_not_continued(place: Place, size: int) -> None:
    """A writer that starts on an older database than it signed refuses its log, at start or at the first append."""
    await _sign_two(place)
    await _sign_two(place)
    before = _signed(place)
    place.restore(size)
    writer = place.writer()
    with pytest.raises(LogRolledBack, match="back in time"):
        await writer.start([TENANT])
    await writer.close()
    async with place.writing() as writer:
        with pytest.raises(LogRolledBack, match="back in time"):
            await writer.append([entry("fork")])
        assert not writer.healthy
    assert len(place.said()) == place.covered() == size
    assert _signed(place) == before


async def test_a_new_database_under_old_keys_is_not_begun(place: Place, durable_database: Database) -> None:
    """An empty database beside the keys of a log that was signed takes no record of it."""
    await _sign_two(place)
    before = _signed(place)
    fresh = Place(durable_database, place.keys)
    async with fresh.writing() as writer:
        with pytest.raises(LogRolledBack, match="0 records but 2 were signed"):
            await writer.append([entry("fork")])
        assert not writer.healthy
    assert fresh.said() == []
    assert _signed(place) == before


async def test_refusals_do_not_pile_up(place: Place) -> None:
    """A refused log keeps nothing of the appends it refuses: the error does not grow with every one."""
    await _sign_two(place)
    place.restore(0)
    async with place.writing() as writer:
        depths = []
        for _ in range(4):
            with pytest.raises(LogRolledBack) as refusal:
                await writer.append([entry("fork")])
            depths.append(len(traceback.extract_tb(refusal.value.__traceback__)))
    assert depths[1] == depths[3]


async def test_a_changed_record_is_not_signed_over(place: Place) -> None:
    """A writer that finds other records than those it signed refuses the log."""
    await _sign_two(place)
    with psycopg.connect(place.database.superuser_url) as intruder:
        intruder.execute("SET session_replication_role = replica")
        intruder.execute("UPDATE audit.header SET raw = sha256(raw) WHERE tenant = %s AND seq = 1", (TENANT,))
    writer = place.writer()
    with pytest.raises(LogRolledBack, match="not those that were signed"):
        await writer.start([TENANT])
    await writer.close()
