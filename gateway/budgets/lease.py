"""What one request may consume: reserved before it was opened, renewed while it runs, settled by what it consumed."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog

from gateway.budgets.accounts import AccountsDown
from gateway.budgets.consumption import Consumption, Tariff
from gateway.budgets.from_log import Counted, usage_at_end

if TYPE_CHECKING:
    from gateway.budgets.budgets import Budgets

_MICRO: Final = Decimal("0.000001")
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
    """A request of this house: what it took teaches the pace, and is booked if budgets count it."""

    def __init__(self, budgets: Budgets, request: UUID, tariff: Tariff | None) -> None:
        """`tariff` is None where nothing was reserved."""
        self._budgets, self._request, self._tariff = budgets, request, tariff
        self._since: float | None = None

    def running(self) -> None:
        if self._since is None:
            self._since = time.monotonic()

    async def settle(self, end: Counted) -> None:
        usage = usage_at_end(end, self._lasted())
        self._budgets.pace.learn(usage.gpu_seconds, end.forwards)
        if self._tariff is None:
            return
        consumed = Consumption.of_usage(self._tariff, usage)
        try:
            await self._budgets.settle(self._request, consumed)
        except AccountsDown:
            _log.warning("budgets.unsettled", request=str(self._request))

    def drop(self) -> None:
        self._budgets.forget(self._request)

    def _lasted(self) -> Decimal:
        """Seconds since the engine took the request, to the microsecond."""
        return Decimal(0) if self._since is None else Decimal(time.monotonic() - self._since).quantize(_MICRO)
