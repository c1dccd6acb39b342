"""One office for each test of people."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.gateway.people.office import Office, opened
from tests.gateway.planted import plant_tenant
from tests.postgres_fixtures import Database


@pytest_asyncio.fixture
async def office(database: Database, tmp_path: Path) -> AsyncIterator[Office]:
    """The office of a database that has tenant acme and nobody in it."""
    plant_tenant(database.app_url, "acme")
    async with opened(database, tmp_path) as made:
        yield made
