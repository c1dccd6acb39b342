"""Windows: what was spent counts until its window has passed, to the slice; a month ends where the document's zone says."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest

from gateway.law.clock import timezones
from policies import Unit, Window
from tests.gateway.budgets.drawing import Teller, ask, budget, used
from tests.postgres_fixtures import Database

SECONDS = {Window.MINUTE: 60, Window.HOUR: 3600, Window.DAY: 86400}


def spend(bank: Teller, window: Window, tokens: int) -> None:
    """So many tokens of a budget of 100 are consumed now."""
    request = uuid4()
    assert bank.reserve(ask(budget(Unit.TOKENS, "100", window=window), tokens), request=request) == []
    bank.accounts.settle(request, used(tokens=tokens))


@pytest.mark.parametrize("window", list(SECONDS))
def test_a_running_window_lets_go_after_its_length(bank: Teller, window: Window) -> None:
    """What was spent counts for the whole length of the window, and at most one slice, a sixtieth, longer."""
    length, wanted = SECONDS[window], ask(budget(Unit.TOKENS, "100", window=window), 50)
    spend(bank, window, 60)
    bank.later(length - 5)
    assert bank.account("tokens") == (0, 60)
    (short,) = bank.reserve(wanted)
    assert short.wait_seconds is not None and 0 < short.wait_seconds <= 5 + length / 60
    bank.later(5 + length / 60)
    assert bank.account("tokens") == (0, 0) and bank.reserve(wanted) == []


def test_the_wait_is_until_enough_has_left(bank: Teller) -> None:
    """The promised wait is for the first moment at which what was spent earlier leaves enough; none while others hold it."""
    minute = budget(Unit.TOKENS, "100")
    for _ in range(3):
        spend(bank, Window.MINUTE, 30)
        bank.later(10)
    waits = {needs: bank.reserve(ask(minute, needs))[0].wait_seconds for needs in (40, 41, 71)}
    bounds = {40: (30, 31), 41: (40, 41), 71: (50, 51)}
    assert all(
        wait is not None and low - 3 < wait <= high for (low, high), wait in zip(bounds.values(), waits.values(), strict=True)
    )
    bank.later(100)
    bank.reserve(ask(minute, 95))
    assert bank.reserve(ask(minute, 10))[0].wait_seconds is None


def test_what_is_reserved_counts_until_it_is_settled(bank: Teller) -> None:
    """A request that outlasts its window holds its reservation, and what it consumed is spent when it ends."""
    minute, request = budget(Unit.TOKENS, "100"), uuid4()
    bank.reserve(ask(minute, 80), request=request)
    bank.later(90)
    assert len(bank.reserve(ask(minute, 30))) == 1
    bank.accounts.settle(request, used(tokens=75))
    assert bank.account("tokens") == (0, 75) and bank.standing()["tokens"].ends is not None


ENDS = [
    ("UTC", datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
    ("UTC", datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 11, 30, 22, 59, 59, tzinfo=UTC), datetime(2026, 11, 30, 23, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 11, 30, 23, tzinfo=UTC), datetime(2026, 12, 31, 23, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 31, 22, tzinfo=UTC)),  # summer time has begun
    ("America/New_York", datetime(2028, 2, 1, 4, 59, tzinfo=UTC), datetime(2028, 2, 1, 5, tzinfo=UTC)),
    ("America/New_York", datetime(2028, 2, 1, 5, 1, tzinfo=UTC), datetime(2028, 3, 1, 5, tzinfo=UTC)),
    ("Asia/Kolkata", datetime(2026, 11, 30, 18, 29, 59, tzinfo=UTC), datetime(2026, 11, 30, 18, 30, tzinfo=UTC)),
]


@pytest.mark.parametrize(("zone", "at", "ends"), ENDS)
def test_a_month_ends_where_its_zone_says(shared: Database, zone: str, at: datetime, ends: datetime) -> None:
    """What is spent in the last second of a month leaves with it; what is spent in the next one stays until that ends."""
    with psycopg.connect(shared.app_url) as connection:
        row = connection.execute("SELECT app.budget_until('month', %s, %s)", (zone, at)).fetchone()
    assert row == (ends,)


def test_the_database_has_every_zone_that_a_document_may_name(shared: Database) -> None:
    """Whatever time zone a document is let have, its months end in the database when they end there, summer time included."""
    at, month = datetime(2026, 7, 15, 12, tzinfo=UTC), budget(Unit.TOKENS, "1", window=Window.MONTH)
    with psycopg.connect(shared.app_url) as connection:
        for zone in timezones():
            told = ask(month, zone=zone).told()["zone"]
            row = connection.execute("SELECT app.budget_until('month', %s, %s)", (told, at)).fetchone()
            assert row == (datetime(2026, 8, 1, tzinfo=ZoneInfo(zone)),), zone


def test_another_amount_goes_on_with_the_account(bank: Teller) -> None:
    """A document that raises or lowers an amount is judged by what was spent before; another window begins anew."""
    spend(bank, Window.MINUTE, 60)
    assert len(bank.reserve(ask(budget(Unit.TOKENS, "70"), 20))) == 1
    assert bank.reserve(ask(budget(Unit.TOKENS, "80"), 20)) == []
    assert bank.reserve(ask(budget(Unit.TOKENS, "80", window=Window.HOUR), 80)) == []
