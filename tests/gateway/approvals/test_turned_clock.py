"""A clock that was set back: what is decided by it stands in a log whose times do not run back."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audit.approvals import content_digest
from audit.verify import Verdict
from gateway.approvals.case import State
from gateway.approvals.choices import Approve, Cleared, Delegate, NotDecided
from tests.audit.writer_samples import TENANT, entry
from tests.gateway.approvals.bureau import TEXT, Bureau, bureau
from tests.policies.documents import policy
from tests.postgres_fixtures import Database

YES = Approve(content_digest(TEXT))
HOUR = 3600 * 10**9
LAW = policy("[approvals.default]\nexpires_seconds = 3600\nedit_allowed = true\n")


@pytest.fixture
def turned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The machine's clock with an offset in nanoseconds, the one element of the list, that a test may turn."""
    real, offset = time.time_ns, [0]
    monkeypatch.setattr(time, "time_ns", lambda: real() + offset[0])
    return offset


async def ahead(inside: Bureau, turned: list[int]) -> None:
    """One record of a clock that is two hours ahead, before it is set back."""
    turned[0] = 2 * HOUR
    await inside.writer.append([entry("too early")])
    turned[0] = 0


async def test_what_is_held_and_decided_after_a_clock_was_set_back_is_no_forgery(
    database: Database, tmp_path: Path, turned: list[int]
) -> None:
    """First and later cycles begin, and people decide, at the log's time: none of it expired before it began."""
    async with bureau(database, tmp_path, LAW) as inside:
        approvals, people = inside.approvals, inside.people
        await ahead(inside, turned)
        generation = await inside.held()
        edited = await approvals.edit(TENANT, generation, "x = 1\n", "shorter", people["kay"], YES.content_sha256)
        assert not isinstance(edited, NotDecided)
        shorter = Approve(content_digest("x = 1\n"))
        assert not isinstance(await approvals.decide(TENANT, generation, shorter, people["ada"]), NotDecided)
        assert isinstance(await approvals.release(TENANT, generation, generation), Cleared)
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_what_the_log_calls_over_gets_no_time_from_another_policy(
    database: Database, tmp_path: Path, turned: list[int]
) -> None:
    """By the log's time it is rejected, and the clock that was set back begins no cycle for it."""
    async with bureau(database, tmp_path, LAW) as inside:
        generation = await inside.held()
        await ahead(inside, turned)
        inside.enact(policy("[approvals.default]\nexpires_seconds = 1800\n"))
        refused = await inside.approvals.decide(TENANT, generation, YES, inside.people["ada"])
        assert isinstance(refused, NotDecided) and refused.code == "ended"
        ended = await inside.case(generation)
        assert (ended.state, ended.opened.cycle) == (State.EXPIRED, 1)
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_what_the_log_calls_over_is_over_by_a_clock_that_was_set_back(
    database: Database, tmp_path: Path, turned: list[int]
) -> None:
    """Neither an approval nor a loan that ended by the log's time lets anybody decide: a verifier would call it too late."""
    async with bureau(database, tmp_path, LAW) as inside:
        approvals, people, generation = inside.approvals, inside.people, await inside.held()
        begun = datetime.now(UTC)
        await approvals.delegate(TENANT, Delegate("alan", begun, begun + timedelta(hours=1), "on leave"), people["ada"])
        await ahead(inside, turned)
        lent = Approve(YES.content_sha256, on_behalf_of="ada")
        refused = await approvals.decide(TENANT, await inside.held(), lent, people["alan"])
        assert isinstance(refused, NotDecided) and "no right to decide that holds now" in refused.message
        refused = await approvals.decide(TENANT, generation, YES, people["ada"])
        assert isinstance(refused, NotDecided) and refused.code == "ended"
        assert (await inside.case(generation)).state is State.EXPIRED
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED
