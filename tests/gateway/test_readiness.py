"""What `/health/ready` and the gateway's own log say when a part is away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from audit.acts import TenantMade
from audit.errors import InvalidRecord, KeyUnavailable, LogUnavailable
from audit.ledger import LogRolledBack, log_origin
from audit.merkle import CompactRange, tree_root
from audit.signer import Signer, signer_folder
from audit.writer import SYSTEM, Entry
from gateway import logs
from gateway.on_record import require_keys
from tests.audit.writer_samples import blocked
from tests.gateway.housed import Housed, housed
from tests.postgres_fixtures import Database
from tests.waiting import until

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


async def test_no_gateway_starts_on_a_log_of_system_that_lost_records(database: Database, tmp_path: Path) -> None:
    """The log of checkpoints is held against what was signed of it at every start, as that of each tenant is."""
    signer, leaf = Signer(tmp_path / "keys", log_origin("palimpsest.local", SYSTEM)), bytes(32)
    signer.sign(1, CompactRange(1, [leaf]).root(), [leaf])
    with pytest.raises(LogRolledBack, match="log 'system' has 0 records but 1 were signed"):
        async with housed(database, tmp_path):
            pass


async def test_a_gateway_whose_keys_were_lost_makes_none_unasked(database: Database, tmp_path: Path) -> None:
    """Without the folder that signed a log it does not start; one that somebody made, empty, says that it may begin anew."""
    act = TenantMade("bolt", "ada")
    async with housed(database, tmp_path / "before") as inside:
        await inside.house.writer.append([Entry(SYSTEM, None, "ada", None, act)])
    lost = signer_folder(tmp_path / "after" / "keys", inside.house.origin(SYSTEM))
    with pytest.raises(KeyUnavailable, match="mount that folder"):
        async with housed(database, tmp_path / "after"):
            pass
    assert not lost.exists()
    lost.mkdir(parents=True)
    async with housed(database, tmp_path / "after") as inside:
        require_keys(inside.house.settings, inside.house.urls, SYSTEM)
        assert (await inside.client.get("/health/ready")).status_code == 200


async def test_keys_of_another_installation_are_refused(database: Database, tmp_path: Path) -> None:
    """Keys under the same name that signed another log serve nobody; after a rotation, or made anew, the own ones do."""
    act, leaves = TenantMade("bolt", "ada"), [bytes([each]) * 32 for each in range(3)]
    async with housed(database, tmp_path / "own") as inside:
        await inside.house.writer.append([Entry(SYSTEM, None, "ada", None, act)])
    settings, origin = inside.house.settings, inside.house.origin(SYSTEM)
    Signer(settings.keys, origin).rotate()
    require_keys(settings, inside.house.urls, SYSTEM)
    other = Signer(tmp_path / "other" / "keys", origin)
    require_keys(replace(settings, keys=tmp_path / "other" / "keys"), inside.house.urls)  # made anew: it has signed nothing
    other.sign(3, tree_root(leaves), leaves)
    with pytest.raises(KeyUnavailable, match="those of another log of this name"):
        require_keys(replace(settings, keys=tmp_path / "other" / "keys"), inside.house.urls, "acme")
    with pytest.raises(KeyUnavailable, match="those of another log of this name"):
        async with housed(database, tmp_path / "other"):
            pass


async def test_why_checkpoints_are_not_written_is_told_once(database: Database, tmp_path: Path) -> None:
    """Readiness says that the log is down, the gateway's log why, once however often it is tried, and once that it passed."""
    with structlog.testing.capture_logs() as told:
        async with housed(database, tmp_path) as inside:
            with blocked(inside.house.settings.keys / "signers"):
                await inside.house.writer.append([Entry(SYSTEM, None, "ada", None, TenantMade("bolt", "ada"))])
                await until(lambda: inside.house.writer.waiting.unsigned_seconds > 3)
                assert (await parts(inside))["log"] == "down"
            await until(lambda: any(each["event"] == "checkpoints.signed_again" for each in told))
            assert inside.house.writer.healthy
    said = [each for each in told if each["event"].startswith("checkpoints.")]
    assert [(each["event"], each["log_level"], each["tenant"]) for each in said] == [
        ("checkpoints.not_signed", "warning", SYSTEM), ("checkpoints.signed_again", "info", SYSTEM),
    ]  # fmt: skip
    assert str(inside.house.settings.keys / "signers") in said[0]["reason"]


def test_the_log_of_the_gateway_says_why_the_audit_log_is_away() -> None:
    """The reason of a log that cannot commit is told; an error about a record, which may quote it, is only named."""
    with structlog.testing.capture_logs() as told:
        logs.unavailable(LogUnavailable("the keys folder cannot be used"))
        logs.unavailable(InvalidRecord("of what was asked"))
    assert [(each["error"], each["reason"]) for each in told] == [
        ("LogUnavailable", "the keys folder cannot be used"),
        ("InvalidRecord", None),
    ]
