"""A checkpoint whose answers last as long as they are let, and empty logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.conftest import durable, place
from tests.gateway.served import endless_checkpoint

__all__ = ["durable", "endless", "place"]


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights that never end a turn."""
    return endless_checkpoint(tmp_path_factory.mktemp("checkpoints") / "endless")
