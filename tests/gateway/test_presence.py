"""An instance lives as long as its session with the server; only of a dead one may somebody take over the requests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from audit.header import uuid7
from gateway.presence import Presence
from gateway.settings import DatabaseUrl
from tests.gateway.tenant_log import end_lock_sessions, lock_sessions
from tests.postgres_fixtures import Database
from tests.waiting import eventually, until

Peer = tuple[UUID, Presence]


@pytest.fixture
def peer(request: pytest.FixtureRequest) -> Iterator[Callable[[Database], Peer]]:
    """Makes instances, each with its presence, not yet at the server."""
    made: list[Presence] = []

    def make(database: Database) -> Peer:
        instance = uuid7()
        made.append(Presence(DatabaseUrl(database.app_url), instance))
        return instance, made[-1]

    yield make
    for presence in made:
        presence.close()


async def claimable(presence: Presence, instance: UUID) -> bool:
    """Whether `presence` may stand in for `instance` just now."""
    async with presence.claim_dead(instance) as dead:
        return dead


async def test_a_living_instance_cannot_be_claimed(database: Database, peer: Callable[[Database], Peer]) -> None:
    """While its presence is held nobody stands in for an instance; an instance that never came is dead."""
    (living, presence), (absent, _), (_, asker) = peer(database), peer(database), peer(database)
    presence.beat()
    assert not await claimable(asker, living)
    assert presence.beat()
    assert not await claimable(asker, living)
    assert await claimable(asker, absent)


async def test_an_instance_that_closed_can_be_claimed(database: Database, peer: Callable[[Database], Peer]) -> None:
    """After close() the instance is dead to others."""
    (gone, presence), (_, asker) = peer(database), peer(database)
    presence.beat()
    presence.close()
    await until(lambda: claimable(asker, gone))


async def test_an_instance_whose_session_ended_can_be_claimed(database: Database, peer: Callable[[Database], Peer]) -> None:
    """When the server has ended its session, as it does for a killed process, the instance is dead."""
    (gone, presence), (_, asker) = peer(database), peer(database)
    presence.beat()
    end_lock_sessions(database)
    assert await claimable(asker, gone)


async def test_a_lost_lock_is_taken_up_again(database: Database, peer: Callable[[Database], Peer]) -> None:
    """The beat after a lost connection says that the lock was lost, and holds it again."""
    (living, presence), (_, asker) = peer(database), peer(database)
    assert not presence.beat()
    end_lock_sessions(database)
    assert not presence.beat()
    assert not await claimable(asker, living)
    assert presence.beat()


async def test_only_one_of_many_claimers_stands_in(database: Database, peer: Callable[[Database], Peer]) -> None:
    """Of claims at the same time one is granted, and when that ends the next is."""
    dead, _ = peer(database)
    everyone_asked = asyncio.Barrier(5)

    async def claim(presence: Presence) -> bool:
        async with presence.claim_dead(dead) as granted:
            await everyone_asked.wait()
            return granted

    askers = [peer(database)[1] for _ in range(5)]
    assert sum(await asyncio.gather(*map(claim, askers))) == 1
    await until(lambda: claimable(askers[0], dead))


async def test_nobody_claims_himself(database: Database, peer: Callable[[Database], Peer]) -> None:
    """An instance never stands in for itself, not even when it holds no lock."""
    own, presence = peer(database)
    assert not await claimable(presence, own)
    presence.beat()
    assert not await claimable(presence, own)


async def test_who_comes_back_waits_for_his_stand_in(database: Database, peer: Callable[[Database], Peer]) -> None:
    """An instance that was taken for dead holds its lock again only when whoever stands in for it has finished."""
    (own, presence), (_, other) = peer(database), peer(database)
    async with other.claim_dead(own) as dead:
        assert dead
        beat = asyncio.create_task(asyncio.to_thread(presence.beat))
        await until(lambda: lock_sessions(database) == 2)
        assert not beat.done()
    assert not await beat
    assert not await claimable(other, own)


async def test_a_claim_does_not_hold_up_the_loop(durable_database: Database, peer: Callable[[Database], Peer]) -> None:
    """While the server does not answer a claim, other tasks go on; when it answers, the claim is granted."""
    (dead, _), (_, asker) = peer(durable_database), peer(durable_database)
    durable_database.freeze()
    try:
        claim = asyncio.create_task(claimable(asker, dead))
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert not claim.done()
    finally:
        durable_database.thaw()
    assert await claim


async def test_a_claim_that_is_given_up_is_let_go(durable_database: Database, peer: Callable[[Database], Peer]) -> None:
    """A task cancelled while it asks leaves no lock behind."""
    (dead, _), (_, asker), (_, other) = (peer(durable_database) for _ in range(3))
    durable_database.freeze()
    try:
        claim = asyncio.create_task(claimable(asker, dead))
        for _ in range(20):
            await asyncio.sleep(0.005)
        claim.cancel()
    finally:
        durable_database.thaw()
    with pytest.raises(asyncio.CancelledError):
        await claim
    await until(lambda: claimable(other, dead))


def test_a_connection_is_not_closed_beneath_a_beat(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing waits for a beat under way, which still has its lock; then that is free."""
    presence = Presence(DatabaseUrl(database.app_url), uuid7())
    presence.beat()
    renewed, begun, going_on = presence._renewed, threading.Event(), threading.Event()

    def slowly() -> bool:
        begun.set()
        return going_on.wait(20) and renewed()

    monkeypatch.setattr(presence, "_renewed", slowly)
    with ThreadPoolExecutor(2) as threads:
        beat = threads.submit(presence.beat)
        assert begun.wait(20)
        closing = threads.submit(presence.close)
        eventually(lambda: presence._closed)
        assert not closing.done() and lock_sessions(database) == 1
        going_on.set()
        assert beat.result(20)
        closing.result(20)
    eventually(lambda: lock_sessions(database) == 0)
