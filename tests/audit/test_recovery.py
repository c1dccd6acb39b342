"""The writer promises that no fault of the database loses, doubles or reorders what it acknowledged."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import count
from uuid import UUID

import psycopg
import pytest

from audit.errors import LogUnavailable
from audit.rows import Leaf, Numbered, Stored
from audit.store import AppendConnection, LogInterrupted, Reader
from audit.writer import Range, Writer
from tests.audit.writer_samples import TENANT, Place, entry, impatient
from tests.waiting import until

STALL = 0.5


async def _refused_at_once(writer: Writer) -> None:
    late = asyncio.create_task(writer.append([entry("late")]))
    await asyncio.sleep(0)
    assert isinstance(late.exception(), LogUnavailable)
    assert not writer.healthy


async def _fails_after_the_stall(writer: Writer, texts: Sequence[str]) -> None:
    done = await asyncio.gather(*(writer.append([entry(text)]) for text in texts), return_exceptions=True)
    stalled = f"no commit for {writer._config.stall_seconds:g} s"
    assert all(isinstance(each, LogUnavailable) and stalled in str(each) for each in done), done


async def test_a_stopped_database_is_reported_and_then_survived(durable: Place) -> None:
    """Appends fail after the stall timeout, then at once; when the server is back the writer serves by itself."""
    async with durable.writing() as writer:
        await writer.append([entry("before")])
        await asyncio.to_thread(durable.database.server.stop)
        with impatient(writer, STALL):
            await _fails_after_the_stall(writer, ["lost", "lost too"])
            await _refused_at_once(writer)
        await asyncio.to_thread(durable.database.server.start)
        await until(lambda: writer.healthy)
        assert await writer.append([entry("after"), entry("and on")]) == Range(1, 2)
    assert durable.said() == ["before", "after", "and on"]
    assert durable.verdict() == 0


async def test_a_frozen_database_does_not_hold_anyone(durable: Place) -> None:
    """An append to a server that no longer answers ends after the stall timeout; it serves again when thawed."""
    async with durable.writing() as writer:
        await writer.append([entry("before")])
        durable.database.freeze()
        try:
            with impatient(writer, STALL):
                await _fails_after_the_stall(writer, ["doubtful"])
                await _refused_at_once(writer)
        finally:
            durable.database.thaw()
        await until(lambda: writer.healthy)
        await writer.append([entry("after")])
    assert [text for text in durable.said() if text != "doubtful"] == ["before", "after"]
    assert durable.said().count("doubtful") <= 1
    assert durable.verdict() == 0


async def test_a_frozen_database_ends_the_start_in_time(durable: Place) -> None:
    """start() on a server that does not answer is LogUnavailable after the stall timeout."""
    writer = durable.writer(stall_seconds=STALL)
    durable.database.freeze()
    try:
        with pytest.raises(LogUnavailable, match=f"no commit for {STALL:g} s"):
            await writer.start([TENANT])
    finally:
        durable.database.thaw()
    await writer.close()


@pytest.mark.parametrize("stall", [30.0, 0.1], ids=["patient", "impatient"])
async def test_a_crash_under_load_loses_and_doubles_nothing(durable: Place, stall: float) -> None:
    """Whatever was acknowledged around two crashes is stored once where the answer said; the rest at most once."""
    acknowledged: dict[str, Range] = {}
    failed: list[str] = []
    ended = asyncio.Event()
    numbers = count()

    async def write(writer: Writer) -> None:
        while not ended.is_set():
            text = str(next(numbers))
            try:
                acknowledged[text] = await writer.append([entry(text), entry(text + "b")])
            except LogUnavailable:
                failed.append(text)
                await asyncio.sleep(0.01)

    async with durable.writing() as writer:
        with impatient(writer, stall):
            streams = [asyncio.create_task(write(writer)) for _ in range(6)]
            for _ in range(2):
                before = len(acknowledged)
                await until(lambda before=before: len(acknowledged) > before + 20, 60)  # type: ignore[misc]
                await asyncio.to_thread(durable.database.crash)
        await until(lambda: writer.healthy)
        ended.set()
        await asyncio.gather(*streams)
    async with durable.writing(TENANT):
        pass  # signs what an impatient writer had no time to sign
    said = durable.said()
    assert all(
        said[place_of.first_seq : place_of.last_seq + 1] == [text, text + "b"] for text, place_of in acknowledged.items()
    )
    assert len(set(said)) == len(said)
    assert set(said) <= {text + part for text in (*acknowledged, *failed) for part in ("", "b")}
    assert failed == [] or stall < 1
    assert durable.verdict() == 0


async def test_a_lost_answer_is_asked_for_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a commit happened and its answer was lost, the batch is found by its id and not stored again."""
    real = AppendConnection.append
    losses = iter([True, False, True, True])

    async def answer_lost(self: AppendConnection, tenant: str, batch: UUID, records: Sequence[Numbered]) -> Stored:
        stored = await real(self, tenant, batch, records)
        if next(losses, False) if records else False:
            raise LogInterrupted("the answer was lost")
        return stored

    async with place.writing() as writer:
        await writer.append([entry("first")])
        monkeypatch.setattr(AppendConnection, "append", answer_lost)
        assert await writer.append([entry("second"), entry("third")]) == Range(1, 2)
        assert await writer.append([entry("fourth")]) == Range(3, 3)
    assert place.said() == ["first", "second", "third", "fourth"]
    assert place.verdict() == 0


async def test_a_reading_that_fails_is_begun_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """When another writer was first and its records cannot be read at once, the append waits for them and is stored."""
    real, failures = Reader.leaves, iter([True, True])

    def failing(self: Reader, first_seq: int = 0, stop_seq: int = 2**62) -> Iterator[Leaf]:
        if next(failures, False):
            raise LogInterrupted("the connection was lost")
        return real(self, first_seq, stop_seq)

    async with place.writing() as writer:
        await writer.append([entry("first")])
        async with place.writing() as other:
            await other.append([entry("second")])
        monkeypatch.setattr(Reader, "leaves", failing)
        assert await writer.append([entry("third")]) == Range(2, 2)
        assert next(failures, None) is None
    assert place.said() == ["first", "second", "third"]
    assert place.verdict() == 0


async def test_a_commit_without_an_answer_is_signed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stored although its append failed comes under a checkpoint too, without a further record."""
    real = AppendConnection.append

    async def never_answers(self: AppendConnection, tenant: str, batch: UUID, records: Sequence[Numbered]) -> Stored:
        stored = await real(self, tenant, batch, records)
        await (asyncio.Event().wait() if records else asyncio.sleep(0))
        return stored

    async with place.writing() as writer:
        monkeypatch.setattr(AppendConnection, "append", never_answers)
        with impatient(writer, 3):  # in which it is stored
            await _fails_after_the_stall(writer, ["stored"])
        await until(lambda: place.covered() == 1)
        with impatient(writer, 3):
            await _fails_after_the_stall(writer, ["stored too"])
    assert place.said() == ["stored", "stored too"]
    assert place.verdict() == 0


async def test_a_session_that_is_ended_is_replaced(place: Place) -> None:
    """An administrator who ends the writer's session is not noticed by those who append."""
    end = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = %s AND application_name = %s"
    async with place.writing() as writer:
        for number in range(3):
            await writer.append([entry(str(number))])
            assert place.ask(end, place.database.name, "palimpsest writer") == 1
        await writer.append([entry("3")])
        assert writer.healthy
    assert place.said() == list("0123")


async def test_what_was_given_up_is_not_attempted_again(durable: Place) -> None:
    """An attempt that outlives the stall timeout ends when its session does, and nothing stores its records later."""
    session = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = %s"
    async with durable.writing() as writer:
        await writer.append([entry("before")])
        pid = durable.ask(session, durable.database.name, "palimpsest writer")
        os.kill(pid, signal.SIGSTOP)
        with impatient(writer, STALL):
            await _fails_after_the_stall(writer, ["given up"])
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not writer._abandoned)
        await until(lambda: writer.healthy)
        await writer.append([entry("after")])
    assert durable.said() == ["before", "after"]
    assert durable.verdict() == 0


async def test_closing_without_a_database_ends(durable: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """close() while the server is away fails what waits and returns; the next writer signs what was left."""
    with monkeypatch.context() as patched:
        patched.setattr("audit.writer._CHECKPOINT_SECONDS", 1000.0)
        async with durable.writing() as writer:
            await writer.append([entry("stored")])
            await asyncio.to_thread(durable.database.server.stop)
            waiting = asyncio.create_task(writer.append([entry("lost")]))
            with impatient(writer, STALL):
                await asyncio.sleep(0)
                await writer.close()
            assert isinstance(waiting.exception(), LogUnavailable)
    await asyncio.to_thread(durable.database.server.start)
    assert durable.covered() == 0
    async with durable.writing(TENANT):
        await until(lambda: durable.covered() == 1)
    assert durable.said() == ["stored"]


async def test_a_refusing_database_is_asked_at_a_walking_pace(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database is up but refuses, the writer asks a few times a second, and serves once it is mended."""
    opened: list[float] = []
    real = AppendConnection.open

    async def noted(url: str) -> AppendConnection:
        opened.append(time.monotonic())
        return await real(url)

    async with place.writing() as writer:
        with place.held():
            with impatient(writer, STALL):
                await _fails_after_the_stall(writer, ["lost"])
            monkeypatch.setattr(AppendConnection, "open", noted)
            _administer(place, "REVOKE EXECUTE ON FUNCTION audit.append FROM gov_app")
        await until(lambda: len(opened) >= 4)
        assert opened[3] - opened[1] > 0.4
        await _refused_at_once(writer)
        _administer(place, "GRANT EXECUTE ON FUNCTION audit.append TO gov_app")
        await until(lambda: writer.healthy)
        await writer.append([entry("after")])
    assert place.said() == ["after"]


async def test_a_stall_is_told_by_what_was_waited_for(place: Place) -> None:
    """Whoever waits for a log that cannot be read hears of that, and not that the database does not answer."""
    async with place.writing(stall_seconds=STALL) as writer:
        with psycopg.connect(place.database.superuser_url) as superuser:
            superuser.execute("LOCK TABLE audit.header IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(LogUnavailable, match="reading the log of 'acme' does not get on"):
                await writer.append([entry("lost")])
        await until(lambda: writer.healthy)
        await writer.append([entry("after")])
    assert place.said()[-1] == "after"


_MANY = 120_000


def _filled(place: Place) -> None:
    """Give the log more headers than can be read within the stall timeout."""
    with psycopg.connect(place.database.superuser_url) as superuser:
        superuser.execute(
            "INSERT INTO audit.header (tenant, seq, ts, kind, raw) "
            "SELECT %s, seq, seq, 8, sha256(seq::text::bytea) FROM generate_series(0, %s) seq",
            (TENANT, _MANY - 1),
        )
        superuser.execute("INSERT INTO audit.head VALUES (%s, %s, 0)", (TENANT, _MANY))


async def test_a_log_that_takes_long_to_read_is_opened(place: Place) -> None:
    """A log that cannot be read within the stall timeout is opened all the same, at the start and at its first record."""
    _filled(place)
    async with place.writing(TENANT):
        pass  # signs so much at once with patience
    async with place.writing(TENANT, stall_seconds=STALL) as writer:
        assert await writer.append([entry("one")]) == Range(_MANY, _MANY)
        assert writer.healthy
    async with place.writing(stall_seconds=STALL) as writer:
        assert await writer.append([entry("two")]) == Range(_MANY + 1, _MANY + 1)
        assert writer.healthy
    assert place.covered() == _MANY + 2


async def test_no_leaf_is_read_twice(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a stall, and after another writer signed further, a log is read on from where it stood."""
    real, asked = Reader.leaves, list[int]()

    def noted(self: Reader, first_seq: int = 0, stop_seq: int = 2**62) -> Iterator[Leaf]:
        asked.append(first_seq)
        return real(self, first_seq, stop_seq)

    async with place.writing() as writer:
        await writer.append([entry("0"), entry("1")])
        await until(lambda: place.covered() == 2)
        monkeypatch.setattr(Reader, "leaves", noted)
        with place.held(), impatient(writer, STALL):
            await _fails_after_the_stall(writer, ["lost"])
        await until(lambda: writer.healthy)
        size = (await writer.append([entry("2")])).last_seq + 1  # the lost one may have been stored all the same
        await until(lambda: not writer._committer.unsigned)
        after_stall = list(asked)
        asked.clear()
        async with place.writing(TENANT) as other:
            await other.append([entry("3")])
        writer._committer.unsigned[TENANT] = 0.0  # as if the other had been faster by a moment
        await writer.probe()
        await until(lambda: TENANT not in writer._committer.unsigned)
        assert writer.healthy
    assert after_stall and min(after_stall) >= 2
    assert asked == [0, size]  # by the other, and then by this one
    assert [text for text in place.said() if text != "lost"] == list("0123")
    assert place.verdict() == 0


async def test_a_reading_that_was_given_up_changes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that reads on after its attempt was given up does not touch the ledger that its successor reads into."""
    async with place.writing() as writer:
        for text in "012":
            await writer.append([entry(text)])
    real, gate, firsts = Reader.leaves, threading.Event(), iter([True])

    def crossing(self: Reader, first_seq: int = 0, stop_seq: int = 2**62) -> Iterator[Leaf]:
        if next(firsts, False):
            gate.wait(20)
        else:
            gate.set()
            time.sleep(0.2)
        yield from real(self, first_seq, stop_seq)

    async with place.writing() as writer:
        monkeypatch.setattr(Reader, "leaves", crossing)
        with impatient(writer, 2 * STALL):
            await _fails_after_the_stall(writer, ["lost"])
        await until(lambda: writer.healthy)
        assert [await writer.append([entry(text)]) for text in "34"] == [Range(3, 3), Range(4, 4)]
        assert writer.healthy
    assert place.said() == list("01234")
    assert place.covered() == 5
    assert place.verdict() == 0


def _administer(place: Place, statement: str) -> None:
    with psycopg.connect(place.database.superuser_url) as superuser:
        superuser.execute(statement)
