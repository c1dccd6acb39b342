"""Budgets and accounts for tests: what is asked, by whom, and the clock of the database moved on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg

from gateway.budgets.accounts import Accounts, Short, Standing
from gateway.budgets.ask import Ask, account_of
from gateway.budgets.consumption import Consumption, Tariff
from gateway.settings import DatabaseUrl
from policies import Budget, Mode, Per, Prices, Unit, Window
from tests.audit.writer_samples import TENANT
from tests.postgres_fixtures import Database

LEASE: Final = timedelta(seconds=30)
AWAY: Final = 1e9
TARIFF: Final = Tariff(Mode.AR, Prices())
SCOPES: Final = {Per.KEY: "key-1", Per.TENANT: TENANT, Per.WORKFLOW: "nightly"}


def budget(unit: Unit, amount: str, **more: Any) -> Budget:
    """A budget of one unit per tenant; its id is the unit's name."""
    window = None if unit is Unit.CONCURRENCY else Window.MINUTE
    return Budget(**({"id": unit.value, "per": Per.TENANT, "unit": unit, "amount": amount, "window": window} | more))


def ask(of: Budget, needs: str | int = 1, scope: str | None = None, tenant: str = TENANT, **more: Any) -> Ask:
    """A share of a budget, in UTC and only where there is room."""
    whose = SCOPES[of.per] if scope is None else scope
    fields: dict[str, Any] = {"zone": "UTC", "forced": False} | more
    return Ask(account=account_of(tenant, of, whose), budget=of, scope=whose, needs=Decimal(needs), **fields)


def used(tokens: int = 0, forwards: int = 0, gpu_seconds: str = "0", money: str = "0") -> Consumption:
    """What a request has consumed."""
    return Consumption(Decimal(tokens), Decimal(forwards), Decimal(gpu_seconds), Decimal(money))


@dataclass(frozen=True, slots=True)
class Teller:
    """One gateway's hand on the accounts."""

    database: Database
    accounts: Accounts
    tenant: str = TENANT
    instance: UUID = field(default_factory=uuid4)

    def reserve(self, *asks: Ask, request: UUID | None = None, lease: timedelta = LEASE) -> list[Short]:
        """What had no room."""
        return self.accounts.reserve(request or uuid4(), self.tenant, TARIFF, asks, lease)

    def standing(self) -> dict[str, Standing]:
        """How the accounts of the tenant stand, by budget."""
        return {each.budget: each for each in self.accounts.standing(self.tenant)}

    def account(self, name: str) -> tuple[Decimal | int, Decimal | int]:
        """What of a budget is reserved and spent."""
        found = self.standing()[name]
        return found.reserved, found.spent

    def later(self, seconds: float) -> None:
        """So many seconds pass: everything that has a time becomes older by them."""
        with psycopg.connect(self.database.superuser_url) as connection:
            for table, column in (
                ("budget_slice", "until"),
                ("budget_reservation", "until"),
                ("budget_lease", "expires_at"),
                ("budget_lease", "settled_at"),
                ("budget_account", "touched_at"),
            ):
                for shift in (AWAY, -AWAY - seconds):  # in two steps, so that no slice meets another on its way
                    moved = f"UPDATE app.{table} SET {column} = {column} + make_interval(secs => %s)"
                    connection.execute(moved, (shift,))

    def rows(self, table: str) -> int:
        """How many rows a table has."""
        with psycopg.connect(self.database.superuser_url) as connection:
            row = connection.execute(f"SELECT count(*) FROM app.{table}").fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def teller(database: Database, tenant: str = TENANT) -> Iterator[Teller]:
    """Accounts that are closed afterwards."""
    instance = uuid4()
    accounts = Accounts(DatabaseUrl(database.app_url), instance)
    try:
        yield Teller(database, accounts, tenant, instance)
    finally:
        accounts.close()
