"""Accounts over one database, emptied for each test."""

from collections.abc import Iterator

import psycopg
import pytest

from gateway.postgres import Server
from tests.gateway.budgets.drawing import Teller, teller
from tests.postgres_fixtures import Database, copied


@pytest.fixture(scope="module")
def shared(cluster: Server) -> Iterator[Database]:
    """A database for the tests of one file, one after the other."""
    with copied(cluster) as database:
        yield database


@pytest.fixture
def bank(shared: Database) -> Iterator[Teller]:
    """The accounts of `acme`, none of which is open yet."""
    with psycopg.connect(shared.superuser_url) as connection:
        connection.execute("TRUNCATE app.budget_account, app.budget_slice, app.budget_lease, app.budget_reservation")
    with teller(shared) as made:
        yield made
