"""What a request was allotted: the law's last word, the facts that it knew, and the lease that goes with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import Final, Self
from uuid import UUID

import policies
from gateway.budgets.accounts import Short
from gateway.budgets.ask import Ask
from gateway.budgets.lease import Lease
from gateway.errors import GatewayError, OverBudget, Refused
from gateway.seats import UNKNOWN_SECONDS
from policies.compiled import BUDGET

SOON: Final = 1


@dataclass(frozen=True, slots=True)
class Lack:
    """The budgets that had no room, and for how many seconds: None for one that could never hold so large a request."""

    waits: tuple[tuple[str, int | None], ...] = ()

    @property
    def budgets(self) -> tuple[str, ...]:
        """Their ids."""
        return tuple(name for name, _ in self.waits)

    def and_of(self, asked: Iterable[Ask], short: Iterable[Short]) -> Self:
        """With those that have just been found short."""
        by_account: dict[UUID, Ask] = {ask.account: ask for ask in asked}
        found = tuple((by_account[each.account].budget.id, _wait(by_account[each.account], each)) for each in short)
        return type(self)((*self.waits, *found))

    def error(self, refusal: policies.Refusal) -> OverBudget:
        """What a client is told: when to come back, which is when the last of those that refuse may have room."""
        named = {rule.removeprefix(BUDGET) for rule in refusal.rules if rule.startswith(BUDGET)}
        blocking = named | {each.id for each in refusal.budgets if each.on_exceed is policies.OnExceed.BLOCK}
        waits = [wait for name, wait in self.waits if name in blocking]
        lasts = [wait for wait in waits if wait is not None]
        return OverBudget(refusal.reason, retry_seconds=max(lasts, default=UNKNOWN_SECONDS) if None not in waits else None)


@dataclass(frozen=True, slots=True)
class Allotted:
    """A verdict and its lease. `facts` are those that the verdict was reached with, budgets without room among them."""

    verdict: policies.Decision | policies.Refusal
    facts: policies.RequestFacts
    lease: Lease
    lack: Lack

    def error(self, refusal: policies.Refusal) -> GatewayError:
        """The refusal as a client hears it."""
        if refusal.code is policies.RefusalCode.BUDGET_EXCEEDED:
            return self.lack.error(refusal)
        return Refused(refusal.reason, status=refusal.status, code=refusal.code.value)


def _wait(ask: Ask, short: Short) -> int | None:
    if ask.needs > ask.budget.exact:
        return None
    return UNKNOWN_SECONDS if short.wait_seconds is None else max(SOON, ceil(short.wait_seconds))
