"""Tells other systems of approvals, at the addresses that the operator named and no others: one thread for each.

What is still to be told is derived from the log and a cursor in the database, so a place that is away, or a gateway that was
killed, delays an event and never loses one; a place may get it twice, under the same id. Of several gateways one tells at a
time, for the cursor's row is held meanwhile. A place that is new hears from that moment on, of a tenant that is new from its
first record; what it does not take of one tenant holds up no other.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Final
from urllib.parse import SplitResult

import structlog
from sqlalchemy import Engine, LargeBinary, Text, create_engine, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.types import BigInteger

from audit.durable import locked, make_folder, own_secret
from audit.errors import AuditError
from audit.header import StoredRecord, decode_header
from audit.keys import KeyStore
from audit.outbound import BadAddress, Unreachable, http_url, request
from audit.store import read_tenant
from gateway.approvals.events import TOLD, identity_of, payload, signed
from gateway.database import Urls
from gateway.errands import Errands
from gateway.pools import close_pool
from gateway.recorded import opened
from gateway.settings import SettingsError, sqlalchemy_url
from gateway.tables import Table, Tenant

SWEEP_SECONDS: Final = 1.0
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 300.0
TOO_OLD: Final = 3 * 86_400_000_000
"""Microseconds after which an event that a place never took is passed over."""
_UNTOLD: Final = (AuditError, SQLAlchemyError, OSError)
_log = structlog.get_logger(__name__)


class Cursor(Table):
    """How far a place has heard of a tenant's approvals."""

    __tablename__ = "webhook_cursor"

    tenant: Mapped[str] = mapped_column(Text, primary_key=True)
    place: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    next_seq: Mapped[int] = mapped_column(BigInteger)


@dataclass(frozen=True, slots=True)
class Place:
    """Where events go."""

    url: SplitResult

    @property
    def key(self) -> bytes:
        """What the cursor knows the place by."""
        return hashlib.sha256(self.url.geturl().encode()).digest()


def places(urls: Sequence[str]) -> list[Place]:
    """The addresses of PALIMPSEST_WEBHOOKS. Raises SettingsError for one that cannot be used."""
    found: list[Place] = []
    for text in urls:
        try:
            url = http_url(text)
        except BadAddress as error:
            raise SettingsError(f"PALIMPSEST_WEBHOOKS: {error}") from error
        if url.scheme != "https" and not _is_here(url.hostname or ""):
            raise SettingsError(f"PALIMPSEST_WEBHOOKS: {text!r} would send events in the clear: give a https URL")
        found.append(Place(url))
    return found


def webhook_secret(keys: Path) -> bytes:
    """The 32 bytes that events are signed with, made on first use."""
    folder = keys / "webhooks"
    make_folder(folder)
    with locked(folder):
        return own_secret(folder / "secret")


class Webhooks(Errands):
    """A thread for each place."""

    def __init__(self, urls: Urls, keys: Path, where: Sequence[Place]) -> None:
        self._tellers = [Teller(urls, keys, place) for place in where]
        super().__init__([(f"webhooks {teller.name}", teller.run) for teller in self._tellers])

    def told(self) -> Counter[str]:
        """By host, how many events were taken."""
        return _sum((teller.name, teller.told) for teller in self._tellers)

    def failures(self) -> Counter[str]:
        """By host, how many attempts were not taken."""
        return _sum((teller.name, teller.failures) for teller in self._tellers)

    def stop(self) -> None:
        """End, and close what the threads had open."""
        super().stop()
        for teller in self._tellers:
            teller.close()


class Teller:
    """Tells one place of every tenant's approvals. Blocking."""

    def __init__(self, urls: Urls, keys: Path, place: Place) -> None:
        self.name = place.url.hostname or ""
        self.told = self.failures = 0
        self._place, self._reader_url, self._keys_folder = place, urls.reader, keys
        self._keys = KeyStore(keys)
        self._engine: Engine = create_engine(
            sqlalchemy_url(urls.app), pool_size=1, pool_pre_ping=True, connect_args={"connect_timeout": 3}
        )

    def run(self, stopping: Event) -> None:
        """Tell what there is to tell until it is time to stop; after a failure less and less often."""
        pause = SWEEP_SECONDS
        while not stopping.wait(pause):
            try:
                self.tell()
            except _UNTOLD as error:
                self.failures += 1
                pause = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
                _log.warning("webhook.untold", place=self.name, error=str(error)[:200], again_in=pause)
            else:
                pause = SWEEP_SECONDS

    def tell(self) -> None:
        """Everything that the place has not heard. Raises Unreachable, and what reading raises, after every tenant's turn."""
        failed: Exception | None = None
        for tenant in self._tenants():
            try:
                self._tell(tenant)
            except _UNTOLD as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def close(self) -> None:
        """Close all connections."""
        close_pool(self._engine)

    def _tenants(self) -> list[str]:
        """All tenants, each with a cursor: of a new place at the end of its log, of one that came since at its beginning."""
        with Session(self._engine) as session:
            tenants = session.scalars(select(Tenant.name).order_by(Tenant.name)).all()
            known = set(session.scalars(select(Cursor.tenant).where(Cursor.place == self._place.key)))
            rows = [
                {"tenant": tenant, "place": self._place.key, "next_seq": 0 if known else self._size(tenant)}
                for tenant in tenants
                if tenant not in known
            ]
            if rows:
                session.execute(insert(Cursor).values(rows).on_conflict_do_nothing())
                session.commit()
        return list(tenants)

    def _size(self, tenant: str) -> int:
        with read_tenant(self._reader_url, tenant) as reader:
            return reader.size()

    def _tell(self, tenant: str) -> None:
        """In the turn of the cursor's row; another gateway that has it is left to it."""
        with Session(self._engine) as session:
            mine = (Cursor.tenant == tenant) & (Cursor.place == self._place.key)
            cursor = session.scalar(select(Cursor).where(mine).with_for_update(skip_locked=True))
            if cursor is None:
                return
            try:
                with read_tenant(self._reader_url, tenant) as reader:
                    waiting = list(reader.approvals(TOLD, cursor.next_seq))
                for stored in waiting:
                    self._post(stored)
                    cursor.next_seq = decode_header(stored.header).seq + 1
            finally:
                session.commit()

    def _post(self, stored: StoredRecord) -> None:
        header = decode_header(stored.header)
        body, seconds = payload(header, opened(self._keys, header, stored.body)), int(time.time())
        if body is None or header.ts < seconds * 1_000_000 - TOO_OLD:
            return
        headers = signed(identity_of(header), seconds, body, webhook_secret(self._keys_folder))
        answer = request("POST", self._place.url, headers, body)
        if not 200 <= answer.status < 300:
            raise Unreachable(f"{self.name} answered {answer.status}")
        self.told += 1


def _sum(counts: Iterable[tuple[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for host, count in counts:
        found[host] += count
    return found


def _is_here(host: str) -> bool:
    """Whether this is the very machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
