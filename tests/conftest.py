"""Fixtures shared by every room's tests."""

import gc

from tests.postgres_fixtures import cluster, database, durable_cluster, durable_database

__all__ = ["cluster", "database", "durable_cluster", "durable_database"]


def pytest_collection_finish() -> None:
    """Seven thousand tests and all that they import stay to the end: the garbage collector need not look at them again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """What was set aside is cleared away like all else."""
    gc.unfreeze()
