"""Laws of connections that are kept: nothing of one reading shows in the next, and a dead one is nobody's trouble."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from audit.readers import KEPT, Readers
from audit.store import LogInterrupted
from tests.audit.writer_samples import TENANT, Place
from tests.waiting import eventually

MINE = "FROM pg_stat_activity WHERE usename = 'gov_reader' AND datname = current_database()"


@pytest.fixture
def readers(place: Place) -> Iterator[Readers]:
    """Of one database."""
    with closing(Readers(place.database.reader_url)) as made:
        yield made


def sessions(place: Place) -> int:
    """How many connections of readers the server has."""
    return int(place.ask(f"SELECT count(*) {MINE}"))


def end_all(place: Place) -> None:
    """The server ends every connection of readers, as when it is started again."""
    place.ask(f"SELECT count(pg_terminate_backend(pid, 5000)) {MINE}")


def stumble(readers: Readers) -> None:
    """Read one header of several, and fail over it."""
    with readers.tenant(TENANT) as reader:
        for raw in reader.headers(0, 9):
            raise ZeroDivisionError(raw)


def cut_off(readers: Readers, place: Place) -> None:
    """Read while the server ends the connection."""
    with readers.tenant(TENANT) as reader:
        end_all(place)
        reader.size()


def test_readings_one_after_the_other_share_a_connection(readers: Readers, place: Place) -> None:
    """However many there are, one connection serves them; those that overlap have one each, of which few are kept."""
    for _ in range(3):
        with readers.tenant(TENANT) as reader:
            assert reader.size() == 0
    assert sessions(place) == 1
    with readers.tenant(TENANT) as one, readers.tenant(TENANT) as other:
        assert (one.size(), other.size(), sessions(place)) == (0, 0, 2)
    with ExitStack() as many:
        for _ in range(KEPT + 2):
            many.enter_context(readers.tenant(TENANT))
    eventually(lambda: sessions(place) == KEPT)  # the server takes a moment to see that a connection has ended


async def test_each_reading_is_a_snapshot_of_its_own_tenant(readers: Readers, place: Place) -> None:
    """A connection that has read one log shows nothing of it to the reader of another, and sees what came since."""
    with readers.tenant(TENANT) as before:
        assert before.size() == 0
        await place.aged(3, 1)
        assert before.size() == 0
    with readers.tenant(TENANT) as after:
        assert after.size() == 3 == len(list(after.headers(0, 9)))
    with readers.tenant("other") as stranger:
        assert stranger.size() == 0 and not list(stranger.headers(0, 9))


async def test_a_reading_that_broke_off_leaves_nothing(readers: Readers, place: Place) -> None:
    """Whoever stops in the middle of an answer, by an error or not, does not disturb the next reading."""
    await place.aged(3, 1)
    with pytest.raises(ZeroDivisionError):
        stumble(readers)
    with readers.tenant(TENANT) as reader:
        kept = reader.headers(0, 9)
        next(kept)
    with readers.tenant(TENANT) as reader:
        assert len(list(reader.headers(0, 9))) == 3


def test_a_connection_that_died_while_it_was_kept_is_replaced(readers: Readers, place: Place) -> None:
    """After the server was started again the next reading succeeds; a reading that is cut off itself says so."""
    with readers.tenant(TENANT) as reader:
        reader.size()
    end_all(place)
    with readers.tenant(TENANT) as reader:
        assert reader.size() == 0
    with pytest.raises(LogInterrupted):
        cut_off(readers, place)
    with readers.tenant(TENANT) as reader:
        assert reader.size() == 0


def test_nothing_is_kept_once_closed(place: Place) -> None:
    """Closing ends what is idle at once, and what is in use when its reading ends."""
    readers = Readers(place.database.reader_url)
    with readers.tenant(TENANT) as reader:
        readers.close()
        assert reader.size() == 0
    assert sessions(place) == 0
