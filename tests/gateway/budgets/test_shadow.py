"""Budgets of a shadow: counted as if they acted, seen on record, and never in anybody's way."""

from __future__ import annotations

from pathlib import Path

import pytest

import policies
from audit.records import PolicyDecision
from gateway.budgets.accounts import Accounts
from policies import UNCOUNTED
from tests.audit.writer_samples import TENANT
from tests.gateway.budgets.laws import budget, law
from tests.gateway.budgets.test_budgets import standing
from tests.gateway.budgets.test_expired import away
from tests.gateway.housed import Housed, housed
from tests.policies.documents import policy
from tests.postgres_fixtures import Database

SHADOW = 'enforcement = "shadow"\n'


def watching(*tables: str) -> policies.Policy:
    """A shadow with these budgets."""
    return policy("\n".join(tables), head=SHADOW)


async def decided(inside: Housed) -> PolicyDecision:
    """What is on record of one more request, which was answered."""
    answer = await inside.ask()
    assert answer.status_code == 200
    return next(body for body in inside.records(answer) if isinstance(body, PolicyDecision))


async def test_what_would_have_been_refused_is_seen_and_runs(database: Database, tmp_path: Path) -> None:
    """Of five requests against a budget for three all are answered; the record says which two would not have been."""
    async with housed(database, tmp_path, watching(budget("three", "requests", "3"))) as inside:
        told = [await decided(inside) for _ in range(5)]
        assert ["shadow:budget:three" in each.rules for each in told] == [False] * 3 + [True] * 2
        assert [each.facts is not None and each.facts.exceeded for each in told] == [()] * 3 + [("three",)] * 2
        assert all(each.outcome == "allow" for each in told)
        assert standing(inside, "shadow:three") == (0, 3) and standing(inside, "three") == (0, 0)


async def test_what_would_have_been_held_draws_on(database: Database, tmp_path: Path) -> None:
    """Where a budget would have held and not refused, what ran is counted, and nobody was asked to approve."""
    shadow = watching(budget("one", "requests", "1", on_exceed="hold"))
    async with housed(database, tmp_path, shadow) as inside:
        for number in range(3):
            assert ("shadow:budget:one" in (await decided(inside)).rules) is (number > 0)
        assert standing(inside, "shadow:one") == (0, 3)


async def test_a_shadow_never_takes_the_room_of_what_acts(database: Database, tmp_path: Path) -> None:
    """The same budget in a shadow and in force has two accounts: what the one has counted leaves the other empty."""
    async with housed(database, tmp_path, watching(budget("few", "requests", "2"))) as inside:
        for _ in range(2):
            await decided(inside)
        inside.house.laws.shipped = law(tmp_path, budget("few", "requests", "2"))
        assert [(await inside.ask()).status_code for _ in range(3)] == [200, 200, 400]
        names = {each.budget for each in inside.house.budgets._accounts.standing(TENANT)}
        assert names == {"few", "shadow:few"}


async def test_a_shadow_stops_nobody_when_it_cannot_count(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the accounts away a request under a shadow is answered, and its record says that budgets were not judged."""
    shadow = watching(budget("few", "requests", "1"))
    async with housed(database, tmp_path, shadow) as inside:
        monkeypatch.setattr(Accounts, "reserve", away)
        told = await decided(inside)
        assert told.facts is not None and told.facts.exceeded == (UNCOUNTED,)
        assert "shadow:budgets.unjudged" in told.rules
        monkeypatch.undo()
        inside.house.laws.shipped = law(tmp_path, budget("few", "requests", "1"))
        monkeypatch.setattr(Accounts, "reserve", away)
        assert (await inside.ask()).status_code == 503
