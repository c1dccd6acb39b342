"""The service of a command, beside a gateway that may be running: the same records, turns and policies."""

# ruff: noqa: PLC0415 - the tokenizer is loaded only for what reads text

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import policies
from audit.keys import KeyStore
from gateway.approvals.approvals import Approvals
from gateway.approvals.desk import Served
from gateway.database import Urls
from gateway.law.lawbook import Lawbook
from gateway.law.reloading import Reloading
from gateway.law.shelf import Shelf
from gateway.on_record import writing
from gateway.settings import Settings


@asynccontextmanager
async def approvals_beside(settings: Settings, urls: Urls, tenant: str) -> AsyncIterator[Approvals]:
    """Approvals of one tenant, under the policy in force and the model that the settings name."""
    from engine.model.checkpoint import digest
    from engine.tokenizer import Tokenizer

    served = Served(bytes.fromhex(digest(settings.checkpoint)), Tokenizer.load(settings.checkpoint).decode_bytes)
    laws, shelf = Lawbook(policies.load(policies.BASELINE)), Shelf(urls.app)
    try:
        await Reloading(laws, shelf).look()
        async with writing(settings, urls, tenant) as writer:
            approvals = Approvals(writer, urls, KeyStore(settings.keys), laws, served)
            try:
                yield approvals
            finally:
                approvals.close()
    finally:
        shelf.close()
