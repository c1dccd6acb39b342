"""Empty logs for tests of the writer."""

from pathlib import Path

import pytest

from tests.audit.writer_samples import Place
from tests.postgres_fixtures import Database


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Place:
    """An empty log."""
    return Place(database, tmp_path / "keys")


@pytest.fixture
def durable(durable_database: Database, tmp_path: Path) -> Place:
    """An empty log on a server that may be stopped."""
    return Place(durable_database, tmp_path / "keys")
