"""The writer promises that what it acknowledged is committed, in order, and soon under a signed checkpoint."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from audit.errors import InvalidRecord, LogUnavailable, QueueFull
from audit.records import Delivery
from audit.sealer import Sealer
from audit.store import LogRefused
from audit.writer import SYSTEM, Range, Writer
from tests.audit.writer_samples import TENANT, Place, blocked, entry
from tests.waiting import until

LONG = 1000.0
"""Seconds that no test can outlast."""


async def test_an_append_returns_after_its_commit(place: Place) -> None:
    """While the commit is held back an append does not return and nobody sees its records; then both happen."""
    async with place.writing() as writer:
        with place.held():
            append = asyncio.create_task(writer.append([entry("one"), entry("two")]))
            await until(place.waiting)
            assert not append.done()
            assert place.said() == []
        assert await append == Range(0, 1)
        assert place.said() == ["one", "two"]


async def test_records_of_one_append_stay_together(place: Place) -> None:
    """Of many concurrent appends to three tenants each lies whole, in order, at the range that was returned."""
    tenants = ("acme", "bolt", "crew")
    work = [(tenants[number % 3], [f"{number}.{part}" for part in range(1 + number % 4)]) for number in range(90)]
    async with place.writing() as writer:
        ranges = await asyncio.gather(*(writer.append([entry(text, tenant) for text in texts]) for tenant, texts in work))
        logs = {tenant: place.said(tenant) for tenant in tenants}
    for (tenant, texts), place_of in zip(work, ranges, strict=True):
        assert logs[tenant][place_of.first_seq : place_of.last_seq + 1] == texts
    assert sum(map(len, logs.values())) == sum(len(texts) for _, texts in work)
    assert [place.verdict(tenant) for tenant in tenants] == [0, 0, 0]


@pytest.mark.parametrize(("waiting", "stored"), [(20, [1, 20]), (300, [1, 150, 150])])
async def test_appends_share_a_commit(place: Place, waiting: int, stored: list[int]) -> None:
    """What arrives while a commit is under way waits for it and is then committed in two halves, few of it as one batch."""
    async with place.writing() as writer:
        with place.held():
            first = asyncio.create_task(writer.append([entry("first")]))
            await until(place.waiting)
            others = [asyncio.create_task(writer.append([entry(str(number))])) for number in range(waiting)]
        assert await first == Range(0, 0)
        assert await asyncio.gather(*others) == [Range(number, number) for number in range(1, waiting + 1)]
    assert place.ask("SELECT array_agg(n ORDER BY first_seq) FROM audit.batch") == stored
    assert place.said() == ["first", *map(str, range(waiting))]


async def test_who_lingers_goes_with_the_next_commit(place: Place) -> None:
    """Records that may wait are stored in the commit that somebody else needs, in order, and not before."""
    async with place.writing() as writer:
        lingering = asyncio.create_task(writer.append([entry("may wait")], linger=LONG))
        await until(lambda: writer.waiting.records == 1)
        assert await writer.append([entry("cannot")]) == Range(1, 1)
        assert await lingering == Range(0, 0)
    assert place.ask("SELECT array_agg(n ORDER BY first_seq) FROM audit.batch") == [2]
    assert place.said() == ["may wait", "cannot"]


async def test_who_lingers_alone_has_a_commit_made(place: Place) -> None:
    """Where nobody comes, records that may wait are stored when their time has run out: the shortest of all."""
    async with place.writing() as writer:
        begun = time.monotonic()
        late = asyncio.create_task(writer.append([entry("late")], linger=LONG))
        await until(lambda: writer.waiting.records == 1)
        assert await writer.append([entry("early")], linger=0.05) == Range(1, 1)
        assert 0.05 <= time.monotonic() - begun < LONG and await late == Range(0, 0)


async def test_who_is_in_a_hurry_has_what_lingers_stored(place: Place) -> None:
    """Records that may wait are stored as soon as somebody says that they must not; where none wait nothing happens."""
    async with place.writing() as writer:
        writer.hurry()
        lingering = asyncio.create_task(writer.append([entry("may wait")], linger=LONG))
        await until(lambda: writer.waiting.records == 1)
        writer.hurry()
        assert await lingering == Range(0, 0)
    assert place.ask("SELECT array_agg(n ORDER BY first_seq) FROM audit.batch") == [1]


async def test_a_closing_writer_stores_what_lingers(place: Place) -> None:
    """The end of the writer waits for nobody's time to run out, and loses nothing."""
    async with place.writing() as writer:
        lingering = asyncio.create_task(writer.append([entry("may wait")], linger=LONG))
        await until(lambda: writer.waiting.records == 1)
    assert await lingering == Range(0, 0)
    assert place.said() == ["may wait"]


async def test_commits_are_heard_of_and_what_waits_is_known(place: Place) -> None:
    """Every commit of records is told with its number and time, probes are not; what waits, unsigned too, is counted."""
    heard: list[tuple[int, float]] = []
    writer = Writer(place.writer()._config, lambda records, seconds: heard.append((records, seconds)))
    await writer.start()
    try:
        assert (writer.waiting.records, writer.waiting.unsigned_seconds, writer.waiting.broken) == (0, 0.0, 0)
        with place.held():
            appends = [asyncio.create_task(writer.append([entry("a"), entry("b")]))]
            await until(place.waiting)
            appends.append(asyncio.create_task(writer.append([entry("c")])))
            await asyncio.sleep(0)
            assert writer.waiting.records == 1 and writer.waiting.size > 0
        await asyncio.gather(*appends)
        await writer.probe()
        assert writer.waiting.unsigned_seconds > 0
        await until(lambda: writer.waiting.unsigned_seconds == 0)
    finally:
        await writer.close()
    assert [records for records, _ in heard] == [2, 1] and all(0 < seconds < 20 for _, seconds in heard)


async def test_a_large_queue_is_committed_in_several_batches(place: Place) -> None:
    """Batches are bounded, and an append is never split over two of them."""
    async with place.writing() as writer:
        ranges = await asyncio.gather(*(writer.append([entry(f"{n}.{part}") for part in range(3)]) for n in range(800)))
    assert [place_of.first_seq for place_of in ranges] == list(range(0, 2400, 3))
    assert place.ask("SELECT bool_and(first_seq %% 3 = 0 AND n %% 3 = 0 AND n < 1100) FROM audit.batch WHERE n > %s", 0)
    assert place.ask("SELECT count(*) FROM audit.batch") == 3
    assert place.verdict() == 0


async def test_busy_threads_delay_no_checkpoint(place: Place) -> None:
    """While the threads of the loop are all taken for long, a log is opened, records are stored and signed; nothing stalls."""
    pool, end = ThreadPoolExecutor(1), threading.Event()
    async with place.writing(TENANT, stall_seconds=2.0) as writer:
        asyncio.get_running_loop().set_default_executor(pool)
        busy = [pool.submit(end.wait, 30) for _ in range(2)]
        try:
            await writer.append([entry("one")])
            await writer.append([entry("one", tenant="fresh")])
            await until(lambda: not writer._committer.unsigned)
            assert writer.healthy
        finally:
            end.set()
        assert place.covered() == 1
    assert all(work.result() for work in busy)


async def test_a_closed_writer_takes_nothing(place: Place) -> None:
    """Before start() and after close() append and probe are refused at once, and the writer is not healthy."""
    writer = place.writer()
    await _refuses(writer)
    await writer.start()
    assert writer.healthy
    await writer.close()
    await _refuses(writer)


async def _refuses(writer: Writer) -> None:
    assert not writer.healthy
    with pytest.raises(LogUnavailable):
        await writer.append([entry("late")])
    with pytest.raises(LogUnavailable):
        await writer.probe()


async def test_a_probe_waits_for_a_commit_and_stores_nothing(place: Place) -> None:
    """probe() returns only when the log can commit, and leaves no record behind."""
    async with place.writing() as writer:
        with place.held(SYSTEM):
            probe = asyncio.create_task(writer.probe())
            await until(place.waiting)
            assert not probe.done()
        await probe
    assert place.said(SYSTEM) == []


@pytest.mark.parametrize("limit", ["queue_records", "queue_bytes"])
async def test_a_full_queue_says_so_at_once(place: Place, tmp_path: Path, limit: str) -> None:
    """Beyond the bound an append raises QueueFull while the others still wait; a commit makes room again."""
    size = len(Sealer(tmp_path / "other").seal([entry("0")])[0].sealed)
    async with place.writing(**{limit: 3 * (size if limit == "queue_bytes" else 1)}) as writer:
        with place.held():
            appends = [asyncio.create_task(writer.append([entry("a")]))]
            await until(place.waiting)
            appends += [asyncio.create_task(writer.append([entry(text)])) for text in "bcd"]
            await asyncio.sleep(0)
            with pytest.raises(QueueFull):
                await writer.append([entry("e")])
            assert not any(append.done() for append in appends)
        await asyncio.gather(*appends)
        await writer.append([entry("f")])
    assert place.said() == list("abcdf")


async def test_a_caller_who_leaves_is_still_recorded(place: Place) -> None:
    """Cancelling append() stores its records all the same, whether they wait or are being committed."""
    async with place.writing() as writer:
        with place.held():
            committing = asyncio.create_task(writer.append([entry("committing")]))
            await until(place.waiting)
            queued = asyncio.create_task(writer.append([entry("queued")]))
            await asyncio.sleep(0)
            for append in (committing, queued):
                append.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await append
        await writer.append([entry("after")])
    assert place.said() == ["committing", "queued", "after"]
    assert place.verdict() == 0


async def test_an_unfit_entry_fails_alone(place: Place) -> None:
    """An entry that cannot be a record is InvalidRecord for its own append, and the others are stored."""
    unfit = [
        entry("x", "Not a tenant"), entry("x", actor=""), entry("x", actor="a\0b"), entry("x", actor="\ud800"),
        entry("x", policy=b"short"), entry("x", body=Delivery(-1, bytes(32), "complete")), entry("\ud800"),
    ]  # fmt: skip
    async with place.writing() as writer:
        bad = [writer.append([entry("fellow"), each] if each.tenant == TENANT else [each]) for each in unfit]
        good = [writer.append([entry(str(number))]) for number in range(3)]
        done = await asyncio.gather(*bad, *good, return_exceptions=True)
        assert [type(each) for each in done] == [InvalidRecord] * len(unfit) + [Range] * 3
        assert writer.healthy
    assert place.said() == ["0", "1", "2"]


async def test_an_append_has_one_tenant(place: Place) -> None:
    """No entries, or entries of two tenants, are a mistake of the caller and store nothing."""
    async with place.writing() as writer:
        for entries in ([], [entry("a"), entry("b", "bolt")]):
            with pytest.raises(ValueError, match="one tenant"):
                await writer.append(entries)
    assert place.said() == place.said("bolt") == []


async def test_two_writers_share_one_history(place: Place) -> None:
    """Two writers on one tenant both make progress into one dense log, signed without contradiction."""
    async with place.writing() as one, place.writing() as two:
        names = [f"{name}.{number}" for number in range(25) for name in ("one", "two")]
        writers = {"one": one, "two": two}

        async def write(name: str) -> list[Range]:
            return [await writers[name].append([entry(text)]) for text in names if text.startswith(name)]

        ranges = await asyncio.gather(write("one"), write("two"))
        said = place.said()
        assert one.healthy and two.healthy
    for name, places in zip(writers, ranges, strict=True):
        assert [said[place_of.first_seq] for place_of in places] == [text for text in names if text.startswith(name)]
    assert sorted(said) == sorted(names)
    assert place.covered() == 50
    assert place.verdict() == 0


async def test_a_writer_with_the_wrong_role_does_not_start(place: Place) -> None:
    """start() as superuser, owner or reader is LogRefused, and nothing can be appended afterwards."""
    for url in (place.database.superuser_url, place.database.owner_url, place.database.reader_url):
        writer = place.writer(app_url=url)
        with pytest.raises(LogRefused, match="refusing"):
            await writer.start()
        await _refuses(writer)
        await writer.close()


async def test_an_absent_database_ends_the_start_in_time(place: Place, tmp_path: Path) -> None:
    """start() without a server is LogUnavailable after the stall timeout and says what the database said."""
    writer = place.writer(app_url=f"postgresql://gov_app:x@/palimpsest?host={tmp_path}", stall_seconds=0.3)
    with pytest.raises(LogUnavailable, match=r"no commit for 0\.3 s.*connection"):
        await writer.start()
    await _refuses(writer)
    await writer.close()


async def test_whatever_ends_the_writer_nobody_is_left_waiting(place: Place) -> None:
    """Cancelling close() fails every append that waits, also behind another log, and leaves no work behind."""
    writer = place.writer()
    await writer.start()
    with place.held():
        appends = [asyncio.create_task(writer.append([entry("lost", tenant)])) for tenant in (TENANT, "bolt")]
        await until(place.waiting)
        appends.append(asyncio.create_task(writer.append([entry("lost")])))
        closing = asyncio.create_task(writer.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        async with asyncio.timeout(5):
            done = await asyncio.gather(*appends, return_exceptions=True)
        assert [isinstance(each, LogUnavailable) for each in done] == [True] * 3
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert place.said() == place.said("bolt") == []


async def test_unusable_keys_fail_an_append_and_nothing_else(place: Place) -> None:
    """While the month keys cannot be reached an append is LogUnavailable; when they can be it is taken."""
    async with place.writing() as writer:
        await writer.append([entry("before")])
        with blocked(place.keys / "months"), pytest.raises(LogUnavailable, match="keys folder"):
            await writer.append([entry("lost", subject="somebody new")])
        await writer.append([entry("after", subject="somebody new")])
    assert place.said() == ["before", "after"]
