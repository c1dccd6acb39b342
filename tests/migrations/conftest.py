"""A database for all that is refused."""

from collections.abc import Iterator

import pytest

from gateway.postgres import Server
from migrations.catalog import Guard, require_intact
from tests.postgres_fixtures import Database, copied


@pytest.fixture(scope="module")
def untouched(cluster: Server) -> Iterator[Database]:
    """A migrated database that no test of the module changes: what is tried there is refused, and it is intact in the end."""
    with copied(cluster) as database:
        yield database
        assert require_intact(database.app_url) is Guard.PRESENT
