"""One house for the tests of one file."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.postgres import Server
from tests.gateway.api.offices import Office
from tests.gateway.api.offices import office as opened
from tests.postgres_fixtures import copied


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    """A house that holds every answer, with people signed in."""
    with copied(cluster) as database:
        async with opened(database, tmp_path_factory.mktemp("office")) as made:
            yield made
