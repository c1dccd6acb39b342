"""Follows the logs of all tenants, so that their requests and held answers can be searched; what it writes can be made again.

Each portion of a log is one transaction that holds the tenant's row in `app.followed`: one process follows a log at a time, the
tables and the cursor move together, and whoever dies leaves both as they were. A process that appended something asks for it by
`look`; what others append is found by the clock.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import structlog
from sqlalchemy import Connection, create_engine, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

import policies
from audit.errors import AuditError
from audit.keys import KeyStore
from audit.store import read_tenant
from gateway.database import Urls
from gateway.pools import close_pool
from gateway.projections.folding import Means
from gateway.projections.portion import KINDS, Portion
from gateway.projections.price_book import PriceBook
from gateway.projections.sizes import Sizes
from gateway.projections.tables import ApprovalRow, DayRow, Followed, GenerationRow, LookRow
from gateway.projections.unsealing import Unsealer
from gateway.settings import sqlalchemy_url
from gateway.tables import Tenant

POLL_SECONDS: Final = 0.5
SPAN: Final = 4096
"""Records of one portion, those that are passed over included."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a tenant's log is in the tables: `followed` of `size` records."""

    tenant: str
    followed: int
    size: int


class Projector:
    """`look` and `run` belong to the event loop; the other methods block."""

    def __init__(self, urls: Urls, keys: KeyStore, shipped: policies.Policy) -> None:
        """`shipped` is the policy of tenants that have none of their own, for its prices."""
        self._engine = create_engine(sqlalchemy_url(urls.app), pool_size=2, max_overflow=8, pool_pre_ping=True)
        self._reader_url, self._keys = urls.reader, keys
        self._sizes = Sizes(urls.reader)
        self._prices = PriceBook(self._engine, shipped)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._at_work, self._closing = threading.Lock(), False
        self._left: dict[str, int] = {}
        self.caught_up_at = time.monotonic()
        """When a turn of the clock last had everything there was."""

    async def look(self, tenant: str) -> None:
        """Return when everything that was appended before this call is in the tables. Raises SQLAlchemyError or AuditError."""
        # Of many who ask at once one works; the others find it done, or what came after their own call.
        async with self._turns[tenant]:
            await asyncio.to_thread(self.follow, tenant)

    async def run(self) -> None:
        """Follow all logs until cancelled. Failures are retried, never raised."""
        while True:
            await asyncio.to_thread(self.round)
            await asyncio.sleep(POLL_SECONDS)

    def follow(self, tenant: str, tell: Callable[[Standing], None] = lambda _: None) -> None:
        """Bring the tables to where the log is at this moment; `tell` hears of every portion."""
        target = self._size(tenant)
        while (reached := self._portion(tenant, target)) < target and not self._closing:
            tell(Standing(tenant, reached, target))
        tell(Standing(tenant, reached, target))

    def rebuild(self, tenant: str, tell: Callable[[Standing], None] = lambda _: None) -> None:
        """Make everything again that the log of a tenant says; priorities, assignments and locks stay."""
        with self._engine.begin() as connection:
            _cursor(connection, tenant)
            for table in (GenerationRow, ApprovalRow, DayRow, LookRow):
                connection.execute(delete(table).where(table.tenant == tenant))
            _move(connection, tenant, 0)
        self.follow(tenant, tell)

    def status(self) -> list[Standing]:
        """How far each log is in the tables, by tenant."""
        followed = self._followed()
        return [Standing(tenant, followed.get(tenant, 0), self._sizes.of(tenant)) for tenant in self.tenants()]

    @property
    def behind(self) -> int:
        """Records of all logs that the tables lacked when the clock last looked; from any thread."""
        return sum(list(self._left.values()))

    def tenants(self) -> list[str]:
        """All tenants by name."""
        with self._engine.connect() as connection:
            return list(connection.scalars(select(Tenant.name).order_by(Tenant.name)))

    def close(self) -> None:
        """Close all connections, once the portion that is being taken in has ended."""
        self._closing = True
        with self._at_work:
            self._sizes.close()
            close_pool(self._engine)

    def round(self) -> None:
        """One turn of the clock: follow every log that is longer than the tables know; one that fails holds up no other."""
        with self._at_work:
            try:
                followed = {} if self._closing else self._followed()
                done = [self._catch_up(tenant, followed.get(tenant, 0)) for tenant in (() if self._closing else self.tenants())]
                if all(done):
                    self.caught_up_at = time.monotonic()
            except SQLAlchemyError as error:
                _log.warning("projections.postponed", error=type(error).__name__)

    def _catch_up(self, tenant: str, followed: int) -> bool:
        """Whether the tables have all of a log now."""
        try:
            self._left[tenant] = max(0, self._sizes.of(tenant) - followed)
            if self._left[tenant]:
                self.follow(tenant, self._tell)
            return True
        except (AuditError, SQLAlchemyError) as error:
            _log.warning("projections.postponed", tenant=tenant, error=type(error).__name__)
        except Exception:  # noqa: BLE001 - one bad log must not end the following of all others
            _log.exception("projections.failed", tenant=tenant)
        return False

    def _tell(self, standing: Standing) -> None:
        self._left[standing.tenant] = standing.size - standing.followed

    def _followed(self) -> dict[str, int]:
        with self._engine.connect() as connection:
            return {row.tenant: row.next_seq for row in connection.execute(select(Followed.tenant, Followed.next_seq))}

    def _size(self, tenant: str) -> int:
        with read_tenant(self._reader_url, tenant) as reader:
            return reader.size()

    def _portion(self, tenant: str, target: int) -> int:
        """Take in up to `SPAN` records, in a transaction of its own; where the cursor is then."""
        with self._engine.begin() as connection:
            start = _cursor(connection, tenant)
            stop = min(start + SPAN, target)
            if stop <= start:
                return start
            unsealer = Unsealer(self._keys)
            # Each policy is asked for once in a portion, also one that nobody knows.
            means = Means(cache(lambda digest: self._prices.of(tenant, digest)), unsealer.text_hmac)
            with read_tenant(self._reader_url, tenant) as reader:
                records = list(reader.of_kinds(KINDS, start, stop))
                Portion(connection, reader, unsealer, means, stop).take(tenant, records)
            _move(connection, tenant, stop)
        return stop


def _cursor(connection: Connection, tenant: str) -> int:
    """Where the tables are, whose lock is now this transaction's."""
    connection.execute(insert(Followed).values(tenant=tenant).on_conflict_do_nothing())
    found = connection.scalar(select(Followed.next_seq).where(Followed.tenant == tenant).with_for_update())
    return 0 if found is None else found


def _move(connection: Connection, tenant: str, next_seq: int) -> None:
    connection.execute(update(Followed).where(Followed.tenant == tenant).values(next_seq=next_seq))
