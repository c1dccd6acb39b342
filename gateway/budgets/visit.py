"""A request that an earlier generation answers: it counts as a request, and as one that is open until that generation ends.

It takes no tokens, passes, seconds or money, for it makes nothing. Its lease is never renewed: a client that goes away, or a
process that dies, frees its place when the lease has expired, and the record that it was attached settles it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from uuid import UUID

import policies
from gateway.approvals.claim import AnsweredEarlier
from gateway.budgets.accounts import AccountsDown
from gateway.budgets.consumption import NOTHING
from gateway.law.record import decided

if TYPE_CHECKING:
    from gateway.budgets.budgets import Budgets


class Repeated(Exception):
    """A request generates nothing, because `generation` answers it; meanwhile it counts as `visit` says."""

    def __init__(self, generation: UUID, visit: Visit) -> None:
        super().__init__(str(generation))
        self.generation, self.visit = generation, visit


class Visit:
    """One request, should it turn out to be a repeated one."""

    def __init__(self, budgets: Budgets, policy: policies.Policy, facts: policies.RequestFacts, request: UUID) -> None:
        self._budgets, self._policy, self._facts, self._request = budgets, policy, facts, request
        self._counted = False

    async def begin(self) -> None:
        """Count it, unless it is counted already. Raises OverBudget where there is no room, and AccountsDown."""
        if self._counted or self._budgets.holds(self._request):
            return
        found = await self._budgets.visit(self._policy, self._facts, self._request)
        if isinstance(found.verdict, policies.Refusal):
            raise found.error(found.verdict).recorded_as(decided(found.facts, found.verdict))
        self._counted = True

    @asynccontextmanager
    async def instead(self) -> AsyncIterator[None]:
        """Raises Repeated where the body finds that the request is answered by an earlier one, and what `begin` raises."""
        try:
            yield
        except AnsweredEarlier as earlier:
            await self.begin()
            raise Repeated(earlier.generation, self) from earlier

    async def undo(self) -> None:
        """It is not repeated after all, and will be counted as the generation that it is. Raises AccountsDown."""
        if self._counted:
            self._counted = False
            await self._budgets.withdraw(self._request)

    async def end(self) -> None:
        """What answers it has ended: its place is free. Never raises."""
        if self._counted:
            self._counted = False
            with suppress(AccountsDown):
                await self._budgets.settle(self._request, NOTHING)
