"""Gateways that several tests share; a test that breaks its gateway starts one of its own."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from gateway.postgres import Server
from tests.gateway.served import TINY, Served, endless_checkpoint, serve
from tests.postgres_fixtures import Database


@pytest.fixture(scope="session")
def served(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway with the trained checkpoint, kept for the whole session."""
    with psycopg.connect(cluster.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE served OWNER gov_owner TEMPLATE palimpsest STRATEGY file_copy")
    with serve(Database(cluster, "served"), tmp_path_factory.mktemp("served"), TINY) as running:
        yield running


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose answers last as long as they are let."""
    return endless_checkpoint(tmp_path_factory.mktemp("checkpoints") / "endless")
