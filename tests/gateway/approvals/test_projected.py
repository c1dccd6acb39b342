"""Laws of approvals beside their projection: it is told of each step, loses nothing, and decides nothing."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import psycopg

import policies
from audit.approvals import content_digest
from audit.errors import LogUnavailable
from audit.header import uuid7
from audit.keys import KeyStore
from audit.verify import Verdict
from gateway.approvals.case import State
from gateway.approvals.choices import Approve, NotDecided
from gateway.approvals.expiry import AT_ONCE
from gateway.projections.projector import Projector
from gateway.projections.queue import Wanted
from gateway.projections.views import Views
from gateway.settings import DatabaseUrl
from tests.audit.writer_samples import TENANT
from tests.gateway.approvals.bureau import BRIEF, ONE, TEXT, beside, staff
from tests.gateway.people.office import urls_of
from tests.gateway.tenant_log import TenantLog
from tests.postgres_fixtures import Database
from tests.waiting import until

ALL = Wanted(states=tuple(State))
STUCK = (
    "INSERT INTO app.approval (generation, tenant, cycle, state, opened_at, expires_at, requester, contributors, workflow,"
    " mode, content_sha256_hmac, policy_digest, needed, last_seq)"
    " VALUES (%s, 'other', 1, 'pending', '2020-01-01', '2020-01-02', 'eve', '{}', '', 'ar', '', '', '[]', 1)"
)
"""An answer of which the log knows nothing."""


async def test_a_decision_stands_though_its_projection_fails(database: Database, tmp_path: Path) -> None:
    """What dies between record and projection loses nothing: the act is answered, and the next look finds it."""
    log, people = TenantLog(database, tmp_path / "keys"), staff(database)
    looked: list[str] = []

    async def fails(tenant: str) -> None:
        looked.append(tenant)
        raise LogUnavailable("the projection cannot be reached")

    shipped = policies.load(policies.BASELINE)
    with closing(Projector(urls_of(database), KeyStore(log.keys), shipped)) as projector:
        async with beside(log, ONE, people, look=fails) as inside:
            generation = await inside.held()
            case = await inside.approvals.decide(TENANT, generation, Approve(content_digest(TEXT)), people["ada"])
            assert not isinstance(case, NotDecided) and case.state is State.APPROVED and looked == [TENANT]
            projector.follow(TENANT)
            with closing(Views(DatabaseUrl(database.app_url), KeyStore(log.keys))) as views:
                (row,) = views.queue.waiting(TENANT, ALL).rows
    assert (row.generation, row.state, row.decided_by) == (generation, State.APPROVED, ("ada",))


async def test_a_decision_waits_for_no_rebuild(database: Database, tmp_path: Path) -> None:
    """While the projections of a tenant are made anew a decision is answered within seconds, and found there afterwards."""
    log, people = TenantLog(database, tmp_path / "keys"), staff(database)
    shipped = policies.load(policies.BASELINE)
    with closing(Projector(urls_of(database), KeyStore(log.keys), shipped)) as projector:
        async with beside(log, ONE, people, look=projector.look) as inside:
            generation = await inside.held()
            await projector.look(TENANT)
            with psycopg.connect(database.superuser_url) as rebuild:
                rebuild.execute("SELECT FROM app.followed WHERE tenant = %s FOR UPDATE", [TENANT])
                decision = inside.approvals.decide(TENANT, generation, Approve(content_digest(TEXT)), people["ada"])
                case = await asyncio.wait_for(decision, 10)
            assert not isinstance(case, NotDecided) and case.state is State.APPROVED
            await projector.look(TENANT)
            with closing(Views(DatabaseUrl(database.app_url), KeyStore(log.keys))) as views:
                (row,) = views.queue.waiting(TENANT, ALL).rows
    assert row.state is State.APPROVED


async def test_the_clock_ends_what_is_over_once(database: Database, tmp_path: Path) -> None:
    """Two processes watch the clock; each answer whose time is over gets one end, in the log and then in the queue."""
    log, people = TenantLog(database, tmp_path / "keys"), staff(database)
    shipped = policies.load(policies.BASELINE)
    with closing(Projector(urls_of(database), KeyStore(log.keys), shipped)) as projector:
        async with beside(log, BRIEF, people, look=projector.look) as here, beside(log, BRIEF, people) as there:
            generations = [await here.held() for _ in range(3)]
            await projector.look(TENANT)
            watching = [asyncio.create_task(each.approvals.run()) for each in (here, there)]

            async def over() -> bool:
                cases = [await here.case(generation) for generation in generations]
                return all(case.state is State.EXPIRED for case in cases)

            await until(over)
            for task in watching:
                task.cancel()
            await asyncio.wait(watching)
            assert [(await here.case(generation)).records for generation in generations] == [2, 2, 2]
    assert log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_what_cannot_be_ended_holds_up_nobody_else(database: Database, tmp_path: Path) -> None:
    """However many answers of one tenant are over and cannot be ended, those of another end in time."""
    log, people = TenantLog(database, tmp_path / "keys"), staff(database)
    with psycopg.connect(database.superuser_url) as connection:
        connection.cursor().executemany(STUCK, [[uuid7()] for _ in range(AT_ONCE)])
    with closing(Projector(urls_of(database), KeyStore(log.keys), policies.load(policies.BASELINE))) as projector:
        async with beside(log, BRIEF, people, look=projector.look) as inside:
            generation = await inside.held()
            await projector.look(TENANT)
            watching = asyncio.create_task(inside.approvals.run())

            async def over() -> bool:
                return (await inside.case(generation)).state is State.EXPIRED

            await until(over)
            watching.cancel()
            await asyncio.wait((watching,))
