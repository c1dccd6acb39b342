"""Erasure, legal holds and retention of one installation's logs: each act is recorded before it is done.

The record is committed first, then keys are destroyed or bodies removed. A process that dies in between leaves the record,
and `finish()`, which every start and every act begins with, does what it says; an old copy of the keys folder that is put
back loses its erased keys again in the same way. Acts of all processes on one keys folder take turns, so that no hold is
placed between the question and the erasure. Content of the subject that is still being generated at that moment may be lost.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from audit.acts import (
    KEEPER,
    Act,
    Erasure,
    ErasureRefused,
    HoldPlaced,
    HoldReleased,
    RetentionRule,
    Retirement,
    commit_to,
    require_two,
)
from audit.durable import make_folder, sole
from audit.errors import AuditError, KeyUnavailable, MalformedData
from audit.header import decode_header, uuid7
from audit.keys import KeyStore
from audit.sealer import open_body
from audit.standing import DAY, KINDS, Hold, Rule, Standing
from audit.store import AppendConnection, LogBusy, read_tenant
from audit.writer import Entry, Writer

AT_ONCE: Final = 10_000
"""Records whose bodies one retirement removes: while it does, the tenant's appends wait."""


class ActRefused(AuditError):
    """An act that the log forbids, or that would do nothing; the message says why."""


@dataclass(frozen=True, slots=True)
class Warrant:
    """Why, and which two people; raises InvalidRecord when they are one."""

    reason: str
    requested_by: str
    approved_by: str

    def __post_init__(self) -> None:
        require_two(self.requested_by, self.approved_by)


@dataclass(frozen=True, slots=True)
class Erased:
    """An erasure: its record, and the month keys that no longer exist."""

    seq: int
    key_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetiredBodies:
    """What was retired: the newest record of it, the range removed, and how many bodies were still there."""

    seq: int
    first: int
    last: int
    bodies: int


class Lifecycle:
    """The acts on one keys folder. Every method belongs to the writer's event loop; URLs are of gov_app and gov_reader."""

    def __init__(self, writer: Writer, app_url: str, reader_url: str, keys: Path) -> None:
        self._writer = writer
        self._app_url, self._reader_url = app_url, reader_url
        self._store = KeyStore(keys)
        self._folder = keys / "acts"
        self._turn = asyncio.Lock()

    async def erase(self, tenant: str, subject: str, warrant: Warrant) -> Erased:
        """Make what is sealed for the subject unreadable for ever. Raises ActRefused, after a record of it if holds forbid."""
        if subject == KEEPER:
            raise ActRefused("administrative acts cannot be erased: name the subject of a request")
        salt = os.urandom(16)
        hidden, people = commit_to(subject, salt), (warrant.reason, warrant.requested_by, warrant.approved_by)
        async with self.acting(tenant) as standing:
            if holds := standing.holds_on(subject):
                refusal = ErasureRefused(hidden, salt, tuple(hold.hold for hold in holds), *people)
                seq = await self.record(tenant, refusal)
                raise ActRefused(f"{_named(holds)} this erasure; record {seq} says that it was asked for")
            key_ids = await asyncio.to_thread(self._store.keys_of, tenant, subject)
            if not key_ids:
                raise ActRefused(f"tenant {tenant!r} has no key of this subject: nothing to erase, or erased already")
            seq = await self.record(tenant, Erasure(hidden, salt, key_ids, *people))
            await asyncio.to_thread(self._store.destroy, key_ids)
        return Erased(seq, key_ids)

    async def place_hold(self, tenant: str, subject: str | None, reason: str, requested_by: str) -> Hold:
        """Forbid erasure of the subject, or of the whole tenant with None, and any retirement of the tenant."""
        hold = uuid7()
        async with self.acting(tenant):
            seq = await self.record(tenant, HoldPlaced(hold, subject, reason, requested_by))
        return Hold(hold, seq, subject, reason)

    async def release_hold(self, tenant: str, hold: UUID, warrant: Warrant) -> int:
        """End a hold and return the seq of the record that says so; raises ActRefused for one that does not stand."""
        async with self.acting(tenant) as standing:
            if hold not in standing.holds:
                raise ActRefused(f"hold {hold} does not stand in the log of {tenant!r}")
            return await self.record(tenant, HoldReleased(hold, warrant.reason, warrant.requested_by, warrant.approved_by))

    async def set_rule(self, tenant: str, days: int | None, warrant: Warrant) -> Rule:
        """Say how many days bodies are kept, None for ever, from the next retirement on."""
        async with self.acting(tenant):
            act = RetentionRule(days, warrant.reason, warrant.requested_by, warrant.approved_by)
            return Rule(await self.record(tenant, act), days)

    async def retire(self, tenant: str, requested_by: str) -> RetiredBodies | None:
        """Remove the bodies that the tenant's rule no longer keeps; None when there are none. Raises ActRefused.

        It stops before the oldest held answer that waits for a decision: whoever decides must be able to read it.
        Many of them go part by part, each under a record of its own, so that appends come between.
        """
        async with self.acting(tenant) as standing:
            rule = standing.rule
            if rule is None or rule.days is None:
                raise ActRefused(f"tenant {tenant!r} keeps its bodies for ever: set a rule first")
            if standing.holds:
                raise ActRefused(f"{_named(list(standing.holds.values()))} a retirement")
            before, first = time.time_ns() // 1000 - rule.days * DAY, standing.next_retired()
            last = await asyncio.to_thread(self._last_to_retire, tenant, before)
            if last is None or last < first:
                return None
            bodies = 0
            async with self._connected() as connection:
                for part in range(first, last + 1, AT_ONCE):
                    act = Retirement(rule.seq, before, part, min(part + AT_ONCE - 1, last), requested_by)
                    seq = await self.record(tenant, act)
                    bodies += await connection.retire(tenant, seq, act.first, act.last)
                await _tend(connection)
            return RetiredBodies(seq, first, last, bodies)

    async def finish(self, tenant: str) -> None:
        """Do what recorded acts say and a process that died left undone; harmless when nothing is left."""
        async with self.acting(tenant):
            pass

    async def standing(self, tenant: str) -> Standing:
        """What the acts of a tenant add up to now."""
        return await asyncio.to_thread(read_standing, self._reader_url, tenant, self._store)

    @asynccontextmanager
    async def acting(self, tenant: str) -> AsyncIterator[Standing]:
        """One act at a time on this keys folder, on a log whose earlier acts are done; what they add up to."""
        make_folder(self._folder)
        async with self._turn, sole(self._folder):
            standing = await self.standing(tenant)
            await asyncio.to_thread(self._store.destroy, standing.erased)
            if standing.retired and not standing.holds:
                await self._catch_up(tenant, standing)
            yield standing

    async def _catch_up(self, tenant: str, standing: Standing) -> None:
        done = await asyncio.to_thread(self._carried_out, tenant)
        for each in standing.retired:
            if each.seq not in done:
                async with self._connected() as connection:
                    await connection.retire(tenant, each.seq, each.first, each.last)
                    await _tend(connection)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AppendConnection]:
        connection = await AppendConnection.open(self._app_url)
        try:
            yield connection
        finally:
            await connection.close()

    async def record(self, tenant: str, act: Act) -> int:
        """Commit one act in the name of whoever requested it; its seq."""
        entry = Entry(tenant=tenant, request=None, actor=act.requested_by, policy=None, body=act)
        return (await self._writer.append([entry])).first_seq

    def _last_to_retire(self, tenant: str, before: int) -> int | None:
        with read_tenant(self._reader_url, tenant) as reader:
            last, undecided = reader.last_before(before), reader.first_undecided()
        return last if last is None or undecided is None else min(last, undecided - 1)

    def _carried_out(self, tenant: str) -> frozenset[int]:
        with read_tenant(self._reader_url, tenant) as reader:
            return reader.retired()


async def _tend(connection: AppendConnection) -> None:
    """Drop what was emptied; what somebody is reading, an export perhaps, goes at the next start or day."""
    with suppress(LogBusy):
        await connection.tend_partitions()


def read_standing(reader_url: str, tenant: str, keys: KeyStore) -> Standing:
    """What the acts of a tenant's log have come to. One that cannot be read stops everything: it might be a hold. Blocking."""
    standing = Standing()
    with read_tenant(reader_url, tenant) as reader:
        for row in reader.acts(kinds=KINDS):
            header = decode_header(row.header)
            if row.body is None:
                raise MalformedData(f"act {header.seq} has no body: restore the database from a backup")
            try:
                body = open_body(keys, header, row.body)
            except KeyUnavailable as error:
                raise KeyUnavailable(
                    f"act {header.seq} of {tenant!r} may be a hold: {error}; restore it from a backup"
                ) from error
            for _ in standing.add(header, body):
                pass  # a contradiction is for the verifier to report
    return standing


def _named(holds: list[Hold]) -> str:
    one = len(holds) == 1
    return f"the legal hold{'' if one else 's'} {', '.join(str(each.hold) for each in holds)} forbid{'s' if one else ''}"
