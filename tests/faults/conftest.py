"""A checkpoint whose answers last as long as they are let, and empty logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.writer_samples import Place
from tests.gateway.served import endless_checkpoint
from tests.postgres_fixtures import Database


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights that never end a turn."""
    return endless_checkpoint(tmp_path_factory.mktemp("checkpoints") / "endless")


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Place:
    """An empty log on a server without fsync."""
    return Place(database, tmp_path / "keys")


@pytest.fixture
def durable(durable_database: Database, tmp_path: Path) -> Place:
    """An empty log on a server with fsync on."""
    return Place(durable_database, tmp_path / "keys")
