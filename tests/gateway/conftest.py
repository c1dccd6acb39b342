"""Logs and gateways that several tests share; a test that breaks its gateway starts one of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.postgres import Server
from tests.engine.small import TINY
from tests.gateway.served import Served, endless_checkpoint, serve
from tests.gateway.tenant_log import TenantLog
from tests.postgres_fixtures import Database, copied


@pytest.fixture
def log(database: Database, tmp_path: Path) -> TenantLog:
    """The log of `acme`."""
    return TenantLog(database, tmp_path / "keys")


@pytest.fixture(scope="session")
def served(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway with the trained checkpoint, kept for the whole session."""
    with copied(cluster) as database, serve(database, tmp_path_factory.mktemp("served"), TINY) as running:
        yield running


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose answers last as long as they are let."""
    return endless_checkpoint(tmp_path_factory.mktemp("checkpoints") / "endless")


@pytest.fixture(scope="module")
def talking(cluster: Server, endless: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway whose answers last as long as they are let."""
    with copied(cluster) as database, serve(database, tmp_path_factory.mktemp("talking"), endless) as running:
        yield running
