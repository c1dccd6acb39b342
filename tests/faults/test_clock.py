"""A clock that jumps: the times in the log never go back, whatever the machine's clock does."""

from __future__ import annotations

import asyncio
import time

import pytest

from audit.header import decode_header
from audit.store import read_tenant
from tests.audit.writer_samples import TENANT, Place, entry

HOUR = 3600 * 10**9
YEAR = 365 * 24 * HOUR


@pytest.fixture
def turned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The machine's clock with an offset in nanoseconds, the one element of the list, that a test may turn."""
    real, offset = time.time_ns, [0]
    monkeypatch.setattr(time, "time_ns", lambda: real() + offset[0])
    return offset


def times(place: Place) -> list[int]:
    """The time of every record, in order of seq."""
    with read_tenant(place.database.reader_url, TENANT) as reader:
        return [decode_header(record.header).ts for record in reader.records()]


async def test_a_clock_that_jumps_back_takes_no_record_with_it(place: Place, turned: list[int]) -> None:
    """Set back by an hour, then by a year, records keep the time of the one before, and the log verifies."""
    async with place.writing() as writer:
        for text, offset in (("noon", 0), ("back an hour", -HOUR), ("back a year", -YEAR), ("on again", HOUR)):
            turned[0] = offset
            await writer.append([entry(text), entry(f"{text}, too")])
    noon, again, hour, _, year, last, on, _ = times(place)
    assert noon == again == hour == year == last < on
    assert on - noon >= HOUR // 1000
    assert place.said()[::2] == ["noon", "back an hour", "back a year", "on again"]
    assert place.verdict() == 0


async def test_a_start_before_the_newest_record_goes_on_from_it(place: Place, turned: list[int]) -> None:
    """A writer that starts on a machine whose clock is a day behind the log numbers on, at the time of the newest record."""
    async with place.writing() as writer:
        await writer.append([entry("yesterday's tomorrow")])
    turned[0] = -24 * HOUR
    async with place.writing(TENANT) as late, place.writing(TENANT) as later:
        await asyncio.gather(*(each.append([entry(f"{number}")]) for number in range(10) for each in (late, later)))
    assert len(times(place)) == 21 and len(set(times(place))) == 1
    assert place.verdict() == 0
