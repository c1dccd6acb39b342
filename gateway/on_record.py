"""What a person does to a log at the command line is on record in it before it is done.

A log that no longer takes records, because the database contradicts what was signed, must still be exportable: then the act
stands in the log of tenant `system`. If that cannot take it either, the act does not happen.
"""

from __future__ import annotations

import asyncio

from audit.acts import Act
from audit.ledger import LogRolledBack
from audit.writer import SYSTEM, Entry, Writer, WriterConfig
from gateway.database import Urls
from gateway.settings import Settings


def put_on_record(settings: Settings, urls: Urls, tenant: str, act: Act) -> str:
    """Commit and sign one act; the tenant in whose log it stands. Raises AuditError when no log takes it. Blocking."""
    try:
        asyncio.run(_append(settings, urls, tenant, act))
    except LogRolledBack:
        asyncio.run(_append(settings, urls, SYSTEM, act))
        return SYSTEM
    return tenant


async def _append(settings: Settings, urls: Urls, tenant: str, act: Act) -> None:
    writer = Writer(WriterConfig(urls.app, urls.reader, settings.keys, settings.origin))
    await writer.start([tenant])
    try:
        await writer.append([Entry(tenant, None, act.requested_by, None, act)])
    finally:
        await writer.close()
