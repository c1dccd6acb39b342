"""A whole gateway inside the test's own loop: the real house and its HTTP application over a real log, under any policy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

import policies
from audit.records import Body
from engine.model import checkpoint
from engine.model.checkpoint import LoadedModel
from gateway.app import ROUTES, create_app
from gateway.database import Urls
from gateway.engine_thread import EngineThread, Stepper
from gateway.house import House
from gateway.settings import DatabaseUrl, Settings
from tests.audit.writer_samples import TENANT
from tests.engine.small import TINY
from tests.gateway.planted import plant_key, plant_tenant
from tests.gateway.tenant_log import TenantLog
from tests.postgres_fixtures import Database

CHAT = "/v1/chat/completions"


@lru_cache(maxsize=1)
def tiny() -> LoadedModel:
    """The trained checkpoint; tests must not write to it."""
    return checkpoint.load(TINY)


@dataclass(frozen=True, slots=True)
class Housed:
    """A running house, its application, a client that holds a key of its tenant `acme`, and the tenant's log."""

    house: House
    app: Any
    client: httpx.AsyncClient
    log: TenantLog
    key: str

    async def ask(self, question: str = "hello", key: str | None = None, **more: Any) -> httpx.Response:
        """One chat request, with another key than the client's if one is given."""
        name = self.house.intake.model.name
        body = {"model": name, "messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 8}
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return await self.client.post(CHAT, json=body | more, headers=headers)

    def records(self, answer: httpx.Response) -> list[Body]:
        """The records of the request that was answered so."""
        return self.log.bodies(UUID(answer.headers["x-request-id"]))


@asynccontextmanager
async def housed(
    database: Database,
    home: Path,
    policy: policies.Policy | None = None,
    model: LoadedModel | None = None,
    engine: Stepper | None = None,
    **settings: str,
) -> AsyncIterator[Housed]:
    """A house that has started and is drained afterwards; policy, model and engine are the usual ones unless given."""
    urls = Urls(DatabaseUrl(database.app_url), DatabaseUrl(database.reader_url))
    given = Settings.read({f"PALIMPSEST_{name.upper()}": text for name, text in (settings | {"home": str(home)}).items()})
    house = House(given, urls, model or tiny(), policy or policies.load(policies.BASELINE))
    if engine is not None:
        house.engine = EngineThread(engine)
    try:
        await house.start()
        plant_tenant(database.app_url, TENANT)
        own = plant_key(database.app_url, TENANT).text
        headers = {"authorization": f"Bearer {own}"}
        app = _served(house)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://housed", headers=headers) as client:
            yield Housed(house, app, client, TenantLog(database, given.keys, given.origin), own)
    finally:
        await house.stop()


def _served(house: House) -> Any:
    """The application, of which the many handlers of pages and API are made only when one is asked for: that takes a while."""
    dialects = create_app(house, ROUTES)
    everything = cache(lambda: create_app(house))

    async def served(scope: Any, receive: Any, send: Any) -> None:
        app = dialects if scope["path"].startswith(("/v1/", "/health/", "/metrics")) else everything()
        await app(scope, receive, send)

    return served
