"""The budgets of a running gateway: every request is allotted what the law lists, and what was lent always comes back.

A lease runs on while its request does; all of this process are renewed together. One that is no longer renewed, because the
process was killed or the database was away when the request ended, expires, and whichever gateway sees it first settles it by
the records of the request: what was decoded is paid for, and a request that never was opened costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import Final, TypeAlias, TypeVar
from uuid import UUID

import structlog

import policies
from audit.errors import AuditError
from audit.keys import KeyStore
from audit.store import read_tenant
from gateway.approvals.claim import AnsweredEarlier
from gateway.budgets.accounts import CONNECTIONS, Accounts, AccountsDown, Expired, Short
from gateway.budgets.allotment import Allotted, Lack
from gateway.budgets.ask import Ask, asks, presence
from gateway.budgets.consumption import Consumption, Tariff, most
from gateway.budgets.from_log import Recorded
from gateway.budgets.lease import UNMETERED, Share
from gateway.budgets.pace import Pace
from gateway.errors import GatewayError
from gateway.settings import DatabaseUrl

LEASE: Final = timedelta(seconds=30)
BEAT_SECONDS: Final = 5.0
BEATS_TO_PRUNE: Final = 720
_log = structlog.get_logger(__name__)
T = TypeVar("T")
Asking: TypeAlias = Callable[[policies.RequestFacts, policies.Decision], Iterable[Ask]]
"""What a request asks of the budgets of a decision."""


class Budgets:
    """Lives on the event loop; the database is asked in threads of its own, so that a busy account holds up nothing else."""

    def __init__(self, accounts: Accounts, reader_url: DatabaseUrl, keys: KeyStore) -> None:
        self.pace = Pace()
        self._accounts, self._reader_url, self._keys = accounts, reader_url, keys
        self._threads = ThreadPoolExecutor(CONNECTIONS, "budgets")
        self._open: set[UUID] = set()

    async def allot(self, policy: policies.Policy, facts: policies.RequestFacts, request: UUID, room: int) -> Allotted:
        """Decide, and reserve what the decision lists; where there is no room, decide again knowing that.

        `room` is what the prompt leaves of the context, in tokens. Each further decision knows of more budgets without room, so
        there are no more rounds than budgets. Raises AccountsDown, and then nothing may run; but a shadow stops nobody: what it
        cannot count is on record as not judged.
        """

        def whole(facts: policies.RequestFacts, verdict: policies.Decision) -> Iterable[Ask]:
            usage = most(verdict, facts.prompt_tokens, room, self.pace.reserved)
            return asks(policy, facts, verdict, Consumption.of_usage(Tariff.of(policy, verdict), usage))

        try:
            return await self._allotted(policy, facts, request, whole)
        except AccountsDown:
            if policy.lifted is None:
                raise
        uncounted = replace(facts, exceeded=(policies.UNCOUNTED,))
        return Allotted(policies.decide(policy, uncounted), uncounted, Share(self, request, None), Lack())

    async def visit(self, policy: policies.Policy, facts: policies.RequestFacts, request: UUID) -> Allotted:
        """The same for a request that an earlier one answers, which only counts as one more. Its lease is not renewed."""
        allotted = await self._allotted(policy, facts, request, partial(presence, policy))
        self.forget(request)
        return allotted

    async def _allotted(self, policy: policies.Policy, facts: policies.RequestFacts, request: UUID, asking: Asking) -> Allotted:
        lack = Lack()
        while True:
            verdict = policies.decide(policy, facts)
            if isinstance(verdict, policies.Refusal):
                return Allotted(verdict, facts, UNMETERED, lack)
            asked = tuple(asking(facts, verdict))
            if not asked:
                return Allotted(verdict, facts, Share(self, request, None), lack)
            tariff = Tariff.of(policy, verdict)
            short = await self._reserve(request, facts.tenant, tariff, asked)
            if not short:
                return Allotted(verdict, facts, Share(self, request, tariff), lack)
            lack = lack.and_of(asked, short)
            facts = replace(facts, exceeded=lack.budgets)

    async def _reserve(self, request: UUID, tenant: str, tariff: Tariff, asked: Sequence[Ask]) -> list[Short]:
        """What had no room; nothing, if all is reserved, and then it is renewed from here on."""
        short = await self._ask(lambda: self._accounts.reserve(request, tenant, tariff, asked, LEASE))
        if not short:
            self._open.add(request)
        return short

    async def settle(self, request: UUID, consumed: Consumption) -> None:
        """Book what a request has consumed. Raises AccountsDown; then its lease is left to expire."""
        self.forget(request)
        await self._ask(lambda: self._accounts.settle(request, consumed))

    def holds(self, request: UUID) -> bool:
        """Whether a request was allotted something here that is renewed."""
        return request in self._open

    async def cancel(self, request: UUID) -> None:
        """A request that was allotted something will not be opened: give it back, now or when its lease has expired."""
        if self.holds(request):
            with suppress(AccountsDown):
                await self.withdraw(request)

    async def withdraw(self, request: UUID) -> None:
        """Give back all that is reserved for a request, as if it had never come. Raises AccountsDown."""
        self.forget(request)
        await self._ask(lambda: self._accounts.cancel(request))

    @asynccontextmanager
    async def kept(self, request: UUID) -> AsyncIterator[None]:
        """What a request was allotted is its own if the body opens it. What a client is told instead gives it all back;
        after anything else only the records can say whether it was opened, so its lease is left to expire.
        """
        try:
            yield
        except (GatewayError, AnsweredEarlier):
            await self.cancel(request)
            raise
        except BaseException:
            self.forget(request)
            raise

    def forget(self, request: UUID) -> None:
        """Renew no more."""
        self._open.discard(request)

    async def run(self) -> None:
        """Renew, and settle what has expired, until cancelled. Failures are retried, never raised."""
        beat = 0
        while True:
            await self.beat()
            beat += 1
            if beat % BEATS_TO_PRUNE == 0:
                with suppress(AccountsDown):
                    await self._ask(self._accounts.prune)
            await asyncio.sleep(BEAT_SECONDS)

    async def beat(self) -> None:
        """One turn of it."""
        try:
            if self._open:
                renewed = tuple(self._open)
                await self._ask(lambda: self._accounts.renew(renewed, LEASE))
            await self._ask(self._settle_expired)
        except AccountsDown as error:
            _log.warning("budgets.postponed", error=type(error).__name__)
        except Exception:  # noqa: BLE001 - one bad turn must not end all later ones
            _log.exception("budgets.failed")

    def close(self) -> None:
        """Let everything go; what is still open expires. Blocking."""
        self._threads.shutdown()
        self._accounts.close()

    def _settle_expired(self) -> None:
        by_tenant = groupby(sorted(self._accounts.expired(), key=lambda lease: lease.tenant), key=lambda lease: lease.tenant)
        for tenant, leases in by_tenant:
            for lease, recorded in self._recorded(tenant, leases):
                self._settle_by(lease, recorded)

    def _recorded(self, tenant: str, leases: Iterable[Expired]) -> list[tuple[Expired, Recorded]]:
        """What the records of a tenant tell of its leases; nothing if they cannot be read, which holds up no other tenant."""
        try:
            with read_tenant(self._reader_url, tenant) as reader:
                return [(lease, Recorded.read(reader, self._keys, lease.request)) for lease in leases]
        except AuditError as error:
            _log.warning("budgets.postponed", tenant=tenant, error=type(error).__name__)
        except Exception:  # noqa: BLE001 - one bad log must not end the settling of all others
            _log.exception("budgets.failed", tenant=tenant)
        return []

    def _settle_by(self, lease: Expired, recorded: Recorded) -> None:
        usage = recorded.usage()
        if usage is None:
            self._accounts.cancel(lease.request)
        else:
            self._accounts.settle(lease.request, Consumption.of_usage(lease.tariff, usage))
        _log.info("budgets.expired", tenant=lease.tenant, request=str(lease.request), opened=usage is not None)

    async def _ask(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
