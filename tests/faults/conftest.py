"""A checkpoint whose answers last as long as they are let, and empty logs."""

from __future__ import annotations

from tests.audit.conftest import durable, place
from tests.gateway.conftest import endless

__all__ = ["durable", "endless", "place"]
