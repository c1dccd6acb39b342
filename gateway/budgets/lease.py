"""What one request may consume: reserved before it was opened, renewed while it runs, settled by what it consumed."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from gateway.budgets.accounts import AccountsDown
from gateway.budgets.consumption import Consumption, Tariff
from gateway.budgets.from_log import Counted, usage_at_end

if TYPE_CHECKING:
    from gateway.budgets.budgets import Budgets

_log = structlog.get_logger(__name__)


class Lease:
    """A request that no budget counts."""

    def running(self) -> None:
        """The engine works for the request; said as often as one likes."""

    async def settle(self, end: Counted) -> None:
        """The request has ended, and its close is on record. Never raises: what cannot be settled now is settled later."""

    def drop(self) -> None:
        """Nobody will settle any more; what was not, expires and is settled by the records of the request."""


UNMETERED = Lease()


class Share(Lease):
    """A request of this house: it has its share of the accelerator's time, and reservations if budgets count it."""

    def __init__(self, budgets: Budgets, request: UUID, tariff: Tariff | None) -> None:
        """`tariff` is None where nothing was reserved."""
        self._budgets, self._request, self._tariff = budgets, request, tariff
        self._entered: float | None = None

    def running(self) -> None:
        if self._entered is None:
            self._entered = self._budgets.accelerator.enter()

    async def settle(self, end: Counted) -> None:
        seconds = self._leave()
        self._budgets.accelerator.learn(seconds, end.forwards)
        if self._tariff is None:
            return
        consumed = Consumption.of_usage(self._tariff, usage_at_end(end, seconds))
        try:
            await self._budgets.settle(self._request, consumed)
        except AccountsDown:
            _log.warning("budgets.unsettled", request=str(self._request))

    def drop(self) -> None:
        self._leave()
        self._budgets.forget(self._request)

    def _leave(self) -> Decimal:
        if self._entered is None:
            return Decimal(0)
        entered, self._entered = self._entered, None
        return self._budgets.accelerator.leave(entered)
