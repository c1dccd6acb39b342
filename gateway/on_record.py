"""What a person does to a log at the command line is on record in it before it is done.

A log that no longer takes records, because the database contradicts what was signed, must still be exportable: then the act
stands in the log of tenant `system`. If that cannot take it either, the act does not happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from audit.acts import Act
from audit.ledger import LogRolledBack
from audit.writer import SYSTEM, Entry, Writer, WriterConfig
from gateway.administration import Administration, Decide
from gateway.changes import Change
from gateway.database import Urls
from gateway.people.person import Actor
from gateway.settings import Settings


def put_on_record(settings: Settings, urls: Urls, tenant: str, act: Act) -> str:
    """Commit and sign one act; the tenant in whose log it stands. Raises AuditError when no log takes it. Blocking."""
    try:
        asyncio.run(_append(settings, urls, tenant, act))
    except LogRolledBack:
        asyncio.run(_append(settings, urls, SYSTEM, act))
        return SYSTEM
    return tenant


def make_change(settings: Settings, urls: Urls, tenant: str, by: Actor, decide: Decide) -> Change | None:
    """Make one change to tenants, users or keys, on record in the log of `tenant`; see `Administration.make`. Blocking."""

    async def make() -> Change | None:
        async with writing(settings, urls, tenant) as writer:
            return await Administration(writer, urls, settings.keys).make(tenant, by, decide)

    return asyncio.run(make())


async def _append(settings: Settings, urls: Urls, tenant: str, act: Act) -> None:
    async with writing(settings, urls, tenant) as writer:
        await writer.append([Entry(tenant, None, act.requested_by, None, act)])


@asynccontextmanager
async def writing(settings: Settings, urls: Urls, tenant: str) -> AsyncIterator[Writer]:
    """A writer for one tenant's log, beside a gateway that may be running; what it wrote is signed at the end."""
    writer = Writer(writer_config(settings, urls))
    await writer.start([tenant])
    try:
        yield writer
    finally:
        await writer.close()


def writer_config(settings: Settings, urls: Urls) -> WriterConfig:
    """Where this installation's log is and how much may wait for it."""
    return WriterConfig(
        app_url=urls.app,
        reader_url=urls.reader,
        keys=settings.keys,
        origin=settings.origin,
        stall_seconds=settings.audit_stall_seconds,
        queue_records=settings.queue_records,
        queue_bytes=settings.queue_bytes,
    )
