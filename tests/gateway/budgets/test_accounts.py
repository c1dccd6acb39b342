"""What is reserved is reserved exactly, all of it or nothing; what was lent comes back once; repeating an act is harmless."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from gateway.budgets.accounts import Accounts, AccountsDown
from gateway.settings import DatabaseUrl
from policies import Per, Unit, Window
from tests.gateway.budgets.drawing import LEASE, SCOPES, TARIFF, Teller, ask, budget, teller, used
from tests.postgres_fixtures import Database

CROWD = 50
NEEDS = {Unit.REQUESTS: "1", Unit.CONCURRENCY: "1", Unit.TOKENS: "300", Unit.FORWARDS: "40", Unit.GPU_SECONDS: "0.125",
         Unit.MONEY: "0.000000001"}  # fmt: skip


def at_once(act: Callable[[int], Any]) -> list[Any]:
    """What each of a crowd that acts at the same moment gets."""
    ready = Barrier(CROWD)

    def one(number: int) -> Any:
        ready.wait()
        return act(number)

    with ThreadPoolExecutor(CROWD) as threads:
        return list(threads.map(one, range(CROWD)))


@pytest.mark.parametrize(
    ("unit", "per"), [*((unit, Per.TENANT) for unit in Unit), (Unit.REQUESTS, Per.KEY), (Unit.TOKENS, Per.WORKFLOW)]
)
def test_a_crowd_gets_exactly_what_there_is(bank: Teller, unit: Unit, per: Per) -> None:
    """Of 50 at once, through two gateways, exactly as many are let in as the amount holds; another scope has its own."""
    room = 7
    scarce = budget(unit, str(room * Decimal(NEEDS[unit])), per=per)
    with teller(bank.database) as other:
        found = at_once(lambda number: (bank, other)[number % 2].reserve(ask(scarce, NEEDS[unit])))
    assert found.count([]) == room
    assert {short.account for shorts in found for short in shorts} == {ask(scarce).account}
    reserved, spent = bank.account(unit.value)
    assert reserved + spent == scarce.exact and (spent == 0) is (unit is not Unit.REQUESTS)
    assert bank.reserve(ask(scarce, NEEDS[unit], scope=f"not {SCOPES[per]}")) == []


def test_all_or_nothing_and_no_deadlock(bank: Teller) -> None:
    """Requests for two budgets in either order never wait for one another in a circle, and what is refused takes nothing."""
    tokens, requests = budget(Unit.TOKENS, "1000000"), budget(Unit.REQUESTS, "20")
    pair = (ask(tokens, 100), ask(requests))
    found = at_once(lambda number: bank.reserve(*(pair if number % 2 else pair[::-1])))
    assert found.count([]) == 20
    assert all([short.account for short in shorts] == [ask(requests).account] for shorts in found if shorts)
    assert (bank.account("tokens"), bank.account("requests")) == ((2000, 0), (0, 20))


def test_every_budget_without_room_is_named(bank: Teller) -> None:
    """One refusal lists all that had no room, and only those."""
    budgets = [budget(Unit.TOKENS, "10"), budget(Unit.FORWARDS, "10"), budget(Unit.GPU_SECONDS, "10")]
    short = bank.reserve(ask(budgets[0], 11), ask(budgets[1], 10), ask(budgets[2], "10.001"))
    assert {each.account for each in short} == {ask(budgets[0]).account, ask(budgets[2]).account}


def test_what_is_forced_needs_no_room(bank: Teller) -> None:
    """A request that the law let pass in spite of a budget still draws on it, and leaves no room to others."""
    tokens, requests = budget(Unit.TOKENS, "10"), budget(Unit.REQUESTS, "1")
    assert bank.reserve(ask(tokens, 25, forced=True), ask(requests)) == []
    assert bank.account("tokens") == (25, 0) and bank.standing()["tokens"].room == 0
    assert [short.account for short in bank.reserve(ask(tokens, 25, forced=True), ask(requests))] == [ask(requests).account]


def test_reserving_and_settling_twice_change_nothing(bank: Teller) -> None:
    """The second of two equal acts finds its work done, also when they come at the same moment."""
    tokens, requests, request = budget(Unit.TOKENS, "100"), budget(Unit.REQUESTS, "3"), uuid4()
    assert at_once(lambda _: bank.reserve(ask(tokens, 60), ask(requests), request=request)) == [[]] * CROWD
    assert (bank.account("tokens"), bank.account("requests")) == ((60, 0), (0, 1))
    assert at_once(lambda _: bank.accounts.settle(request, used(tokens=41))) == [True] * CROWD
    assert bank.reserve(ask(tokens, 60), request=request) == []
    assert (bank.account("tokens"), bank.account("requests")) == ((0, 41), (0, 1))


def test_a_late_truth_is_booked(bank: Teller) -> None:
    """Who settles again with more pays the difference; with less, nothing comes back."""
    tokens, request = budget(Unit.TOKENS, "100"), uuid4()
    bank.reserve(ask(tokens, 60), request=request)
    for counted, booked in ((20, 20), (55, 55), (30, 55)):
        assert bank.accounts.settle(request, used(tokens=counted))
        assert bank.account("tokens") == (0, booked)


def test_each_unit_is_booked_by_its_own_count(bank: Teller) -> None:
    """Settling books tokens, forwards, seconds and money as consumed, exactly, and gives a place among the open ones back."""
    request = uuid4()
    bank.reserve(*(ask(budget(unit, "1000000"), 5) for unit in Unit if unit is not Unit.REQUESTS), request=request)
    assert all(bank.account(unit.value) == (5, 0) for unit in Unit if unit is not Unit.REQUESTS)
    bank.accounts.settle(request, used(3, 2, "0.000001", "123456789012.000000000000000001"))
    booked = {unit.value: bank.account(unit.value) for unit in Unit if unit is not Unit.REQUESTS}
    seconds, money = Decimal("0.000001"), Decimal("123456789012.000000000000000001")
    assert booked == {
        "concurrency": (0, 0), "tokens": (0, 3), "forwards": (0, 2), "gpu_seconds": (0, seconds), "money": (0, money),
    }  # fmt: skip


def test_a_request_that_never_was_costs_nothing(bank: Teller) -> None:
    """Giving back frees everything, the count of requests too, once; what was settled is not given back."""
    tokens, requests, request = budget(Unit.TOKENS, "100"), budget(Unit.REQUESTS, "1"), uuid4()
    bank.reserve(ask(tokens, 60), ask(requests), request=request)
    assert [bank.accounts.cancel(request) for _ in range(2)] == [True, False]
    assert (bank.account("tokens"), bank.account("requests")) == ((0, 0), (0, 0))
    assert bank.reserve(ask(tokens, 60), ask(requests), request=request) == []
    bank.accounts.settle(request, used(tokens=60))
    assert not bank.accounts.cancel(request)
    assert (bank.account("tokens"), bank.account("requests")) == ((0, 60), (0, 1))


def test_nobody_settles_what_was_never_reserved(bank: Teller) -> None:
    """A request without a lease books nothing."""
    assert not bank.accounts.settle(uuid4(), used(tokens=5))
    assert bank.rows("budget_slice") == 0


def test_a_lease_ends_unless_it_is_renewed(bank: Teller) -> None:
    """Only the leases that are not renewed in time expire, whoever asks; a settled one never does."""
    tokens = budget(Unit.TOKENS, "1000")
    kept, left, settled = (_leased(bank, ask(tokens, 10)) for _ in range(3))
    bank.later(20)
    bank.accounts.renew([kept, settled], LEASE)
    bank.accounts.settle(settled, used())
    bank.later(15)
    bank.accounts.renew([settled], LEASE)
    with teller(bank.database) as other:
        assert [(lease.request, lease.tenant) for lease in other.accounts.expired()] == [(left, "acme")]


def _leased(bank: Teller, *asks: Any) -> UUID:
    request = uuid4()
    assert bank.reserve(*asks, request=request) == []
    return request


def test_what_counts_no_longer_is_forgotten(bank: Teller) -> None:
    """Accounts, slices and leases go when nothing can come of them, and not before."""
    tokens, monthly = budget(Unit.TOKENS, "100"), budget(Unit.FORWARDS, "100", window=Window.MONTH)
    request = _leased(bank, ask(tokens, 10), ask(monthly, 10))
    tables = ("budget_account", "budget_slice", "budget_lease", "budget_reservation")
    bank.accounts.prune()
    assert [bank.rows(table) for table in tables] == [2, 0, 1, 2]
    bank.accounts.settle(request, used(tokens=10, forwards=10))
    bank.later(4 * 86400)
    bank.accounts.prune()
    assert bank.rows("budget_lease") == 0 and "forwards" in bank.standing() and "tokens" not in bank.standing()
    bank.later(34 * 86400)
    bank.accounts.prune()
    assert [bank.rows(table) for table in tables] == [0, 0, 0, 0]


def test_a_severed_connection_is_tried_anew(bank: Teller) -> None:
    """When the server has dropped its sessions the next act opens one of its own and is done once."""
    tokens = budget(Unit.TOKENS, "100")
    bank.reserve(ask(tokens, 10))
    _drop_sessions(bank.database)
    assert bank.reserve(ask(tokens, 10)) == [] and bank.account("tokens") == (20, 0)


def test_a_database_that_is_away_is_told() -> None:
    """Without a server nothing is decided: the error is the gateway's own, a 503."""
    away = Accounts(DatabaseUrl("postgresql://gov_app@127.0.0.1:1/none"), uuid4())
    with pytest.raises(AccountsDown) as caught:
        away.reserve(uuid4(), "acme", TARIFF, [ask(budget(Unit.TOKENS, "1"))], LEASE)
    assert caught.value.status == 503
    away.close()


def _drop_sessions(database: Database) -> None:
    theirs = "datname = current_database() AND usename = 'gov_app'"
    with psycopg.connect(database.superuser_url) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {theirs}")
