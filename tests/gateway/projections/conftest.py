"""A database with its writer and a follower, kept for the tests of one file; each test takes tenants of its own."""

from collections.abc import Iterator

import pytest

from gateway.postgres import Server
from tests.gateway.projections.following import Following, following
from tests.postgres_fixtures import copied


@pytest.fixture(scope="module")
def logs(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Following]:
    """Logs that anything may be appended to, and the tables that follow them."""
    with copied(cluster) as database, following(database, tmp_path_factory.mktemp("logs")) as made:
        yield made
