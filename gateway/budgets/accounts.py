"""The accounts of all budgets in the database: reserve, settle, give back, renew, forget.

Each call is one short transaction and one round trip, done by a function of the database under the locks of the accounts that
it needs, so any number of gateways may share them. All that changes something may be repeated: what was done once is not done
again. So what a broken connection leaves in doubt is tried once more, on a new one. Blocking: call it in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Connection, bindparam, create_engine, func, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from gateway.budgets.ask import Ask
from gateway.budgets.consumption import Consumption, Tariff
from gateway.budgets.tables import BudgetAccount, BudgetLease, BudgetSlice
from gateway.errors import Unavailable
from gateway.pools import close_pool
from gateway.settings import DatabaseUrl, sqlalchemy_url

CONNECTIONS: Final = 4
# A server that does not answer must show within seconds: a client is waiting for its 503.
PATIENCE: Final = "-c statement_timeout=3s -c idle_in_transaction_session_timeout=10s"
EXPIRED_MOST: Final = 200
"""Leases that are taken up in one turn."""
_PARTS: Final = ("request", "tenant", "instance", "lease", "mode", "prices")
_RESERVE: Final = select(
    func.app.budget_reserve(*map(bindparam, _PARTS), bindparam("asks", type_=JSONB)).table_valued("short", "wait_seconds")
)
_SETTLE: Final = select(func.app.budget_settle(bindparam("request"), bindparam("used", type_=JSONB)))
_log = structlog.get_logger(__name__)
T = TypeVar("T")


class AccountsDown(Unavailable):
    """What is reserved and spent cannot be read or changed; nothing was decided."""

    default_code = "budgets_unavailable"


@dataclass(frozen=True, slots=True)
class Short:
    """An account without room, and the seconds after which it will have some; None where nobody can know."""

    account: UUID
    wait_seconds: float | None


@dataclass(frozen=True, slots=True)
class Expired:
    """A lease that nobody has renewed, and what its money is counted by."""

    request: UUID
    tenant: str
    tariff: Tariff


@dataclass(frozen=True, slots=True)
class Standing:
    """How an account stands; `ends` is when the first of what was spent leaves the window, None where nothing was."""

    budget: str
    per: str
    scope: str
    unit: str
    window: str | None
    amount: Decimal
    reserved: Decimal
    spent: Decimal
    ends: datetime | None

    @property
    def room(self) -> Decimal:
        """What may still be reserved; nothing where a budget that holds or slows down was overdrawn."""
        return max(Decimal(0), self.amount - self.reserved - self.spent)


class Accounts:
    """The accounts of one database, for the gateway `instance`."""

    def __init__(self, url: DatabaseUrl, instance: UUID) -> None:
        self._engine = create_engine(
            sqlalchemy_url(url, PATIENCE),
            pool_size=CONNECTIONS,
            max_overflow=0,
            isolation_level="AUTOCOMMIT",
            connect_args={"connect_timeout": 3},
            hide_parameters=True,
        )
        self._instance = instance

    def reserve(self, request: UUID, tenant: str, tariff: Tariff, asks: Sequence[Ask], lease: timedelta) -> list[Short]:
        """Reserve all that is asked for until the lease ends, or nothing: then the accounts that had no room."""
        mode, prices = tariff.told()
        values = {
            "request": request, "tenant": tenant, "instance": self._instance, "lease": lease, "mode": mode, "prices": prices,
            "asks": [ask.told() for ask in asks],
        }  # fmt: skip
        rows = self._do(lambda connection: connection.execute(_RESERVE, values).all())
        return [Short(row.short, row.wait_seconds) for row in rows]

    def settle(self, request: UUID, consumed: Consumption) -> bool:
        """Free what the request holds and book what it consumed; False if it never reserved anything."""
        values = {"request": request, "used": consumed.told()}
        return bool(self._do(lambda connection: connection.scalar(_SETTLE, values)))

    def cancel(self, request: UUID) -> bool:
        """Give everything back, as if the request had never been; False if there is nothing to give back."""
        return bool(self._do(lambda connection: connection.scalar(select(func.app.budget_cancel(request)))))

    def renew(self, requests: Collection[UUID], lease: timedelta) -> None:
        """The leases of these requests run on, all of them at once; one that was settled stays so."""
        changed = (
            update(BudgetLease)
            .where(BudgetLease.request.in_(requests), BudgetLease.settled_at.is_(None))
            .values(expires_at=func.clock_timestamp() + lease)
        )
        self._do(lambda connection: connection.execute(changed))

    def expired(self) -> list[Expired]:
        """Leases that nobody renewed in time, of any gateway, the oldest of each tenant."""
        age = func.row_number().over(partition_by=BudgetLease.tenant, order_by=BudgetLease.expires_at).label("age")
        over = (
            select(BudgetLease.request, BudgetLease.tenant, BudgetLease.mode, BudgetLease.prices, age)
            .where(BudgetLease.settled_at.is_(None), BudgetLease.expires_at < func.clock_timestamp())
            .subquery()
        )
        # Of each tenant so many, so that leases of one that cannot be settled keep no other's from their turn.
        query = select(over).where(over.c.age <= EXPIRED_MOST).order_by(over.c.age)
        rows = self._do(lambda connection: connection.execute(query).all())
        return [Expired(row.request, row.tenant, Tariff.read(row.mode, row.prices)) for row in rows]

    def prune(self) -> None:
        """Forget what counts no longer."""
        self._do(lambda connection: connection.execute(select(func.app.budget_prune())))

    def standing(self, tenant: str) -> list[Standing]:
        """Every account of a tenant, by budget and scope."""
        live = BudgetSlice.until > func.clock_timestamp()
        spent = func.coalesce(func.sum(BudgetSlice.spent), 0)
        query = (
            select(BudgetAccount, spent.label("spent"), func.min(BudgetSlice.until).label("ends"))
            .outerjoin(BudgetSlice, (BudgetSlice.account == BudgetAccount.id) & live)
            .where(BudgetAccount.tenant == tenant)
            .group_by(BudgetAccount.id)
            .order_by(BudgetAccount.budget, BudgetAccount.scope)
        )
        rows = self._do(lambda connection: connection.execute(query).all())
        return [Standing(r.budget, r.per, r.scope, r.unit, r.span, r.amount, r.reserved, r.spent, r.ends) for r in rows]

    def close(self) -> None:
        """Close all connections."""
        close_pool(self._engine)

    def _do(self, work: Callable[[Connection], T]) -> T:
        """Raises AccountsDown."""
        try:
            try:
                with self._engine.connect() as connection:
                    return work(connection)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            with self._engine.connect() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            _log.warning("budgets.unreached", error=type(cause).__name__)
            raise AccountsDown("the accounts of the budgets cannot be used; try again later") from error
