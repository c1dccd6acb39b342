"""What `/health/ready` and the gateway's own log say when a part is away."""

from __future__ import annotations

from pathlib import Path

import structlog

from audit.errors import InvalidRecord, LogUnavailable
from gateway import logs
from tests.gateway.housed import Housed, housed
from tests.postgres_fixtures import Database

UP = {"log": "ok", "database": "ok", "keys": "ok", "engine": "ok"}


async def parts(inside: Housed) -> dict[str, str]:
    """The parts, as anybody is told."""
    found: dict[str, str] = (await inside.client.get("/health/ready")).json()["parts"]
    return found


async def test_keys_that_are_away_are_the_part_that_is_named(database: Database, tmp_path: Path) -> None:
    """A keys folder that was moved away is seen at once, while the database answers; put back, all is well."""
    async with housed(database, tmp_path) as inside:
        folder = inside.house.settings.keys
        assert await parts(inside) == UP
        folder.rename(tmp_path / "elsewhere")
        assert await parts(inside) == UP | {"keys": "down"}
        folder.mkdir()  # as an empty mount point
        assert await parts(inside) == UP | {"keys": "down"}
        folder.rmdir()
        (tmp_path / "elsewhere").rename(folder)
        assert await parts(inside) == UP


def test_the_log_of_the_gateway_says_why_the_audit_log_is_away() -> None:
    """The reason of a log that cannot commit is told; an error about a record, which may quote it, is only named."""
    with structlog.testing.capture_logs() as told:
        logs.unavailable(LogUnavailable("the keys folder cannot be used"))
        logs.unavailable(InvalidRecord("of what was asked"))
    assert [(each["error"], each["reason"]) for each in told] == [
        ("LogUnavailable", "the keys folder cannot be used"),
        ("InvalidRecord", None),
    ]
