"""Fixtures shared by every room's tests."""

import gc
from typing import Final

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.postgres_fixtures import cluster, database, durable_cluster, durable_database

__all__ = ["cluster", "database", "durable_cluster", "durable_database"]

# How long an example takes says more about what else the machine does than about what is tested.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

FIRST: Final = (
    "faults/test_crash_rounds.py", "gateway/test_crash.py", "engine/train/test_trainer.py", "kernels/test_interpreted.py",
    "gateway/test_demo.py", "gateway/law/test_matrix.py", "gateway/test_replayed.py", "gateway/ui/test_review_browser.py",
    "gateway/test_answers.py", "engine/test_lossless.py", "gateway/ui/test_in_a_browser.py",
)  # fmt: skip
"""The files that take longest, so that none of them is what the others wait for at the end."""


@pytest.fixture(autouse=True)
def _log_of_its_own() -> None:
    """What a command or a house of another test said that this process logs holds no longer."""
    structlog.reset_defaults()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; all else keeps its order."""
    ranks = {name: rank for rank, name in enumerate(FIRST)}
    items.sort(key=lambda item: ranks.get(item.nodeid.split("::")[0].removeprefix("tests/"), len(FIRST)))


def pytest_collection_finish() -> None:
    """Seven thousand tests and all that they import stay to the end: the garbage collector need not look at them again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """What was set aside is cleared away like all else."""
    gc.unfreeze()
