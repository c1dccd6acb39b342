"""Fixtures shared by every room's tests."""

from tests.postgres_fixtures import cluster, database, durable_cluster, durable_database

__all__ = ["cluster", "database", "durable_cluster", "durable_database"]
