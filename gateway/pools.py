"""Closing a pool of connections while threads may still use some: a thread cannot be cancelled, and is not waited for."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, event


def close_pool(engine: Engine) -> None:
    """Close all connections; one that is in use is closed when it is given back."""
    event.listen(engine, "checkin", _close)
    engine.dispose()


def _close(connection: Any, _record: object) -> None:
    connection.close()
