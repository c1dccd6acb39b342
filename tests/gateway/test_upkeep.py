"""A gateway looks after what guards its log: a changed catalog closes it, and what acts left undone is done at its start."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest

from audit.lifecycle import Lifecycle, Warrant
from audit.records import PromptBody, RequestOpen
from gateway.database import open_database
from gateway.settings import DatabaseUrl, Settings
from gateway.upkeep import Upkeep
from migrations.catalog import CatalogAltered
from tests.audit.writer_samples import TENANT
from tests.gateway.housed import housed
from tests.postgres_fixtures import Database


async def test_a_changed_catalog_closes_the_gateway(database: Database, tmp_path: Path) -> None:
    """Once a superuser has changed what guards the log, nothing is admitted and readiness is red."""
    async with housed(database, tmp_path) as inside:
        await inside.house.upkeep.look()
        assert (await inside.ask()).status_code == 200 and inside.house.upkeep.intact
        with psycopg.connect(database.superuser_url) as intruder:
            intruder.execute("ALTER TABLE audit.header DISABLE TRIGGER only_grows")
        await inside.house.upkeep.look()
        answer, ready = await inside.ask(), await inside.client.get("/health/ready")
        assert answer.status_code == ready.status_code == 503
        assert answer.json()["error"]["code"] == "audit_log_unavailable" and ready.json()["parts"]["log"] == "down"


async def test_the_clock_looks_by_itself(database: Database) -> None:
    """The task finds the change at its next turn, and then has no more to look for; exports are swept meanwhile."""
    swept: list[None] = []
    upkeep = Upkeep(DatabaseUrl(database.app_url), lambda: swept.append(None), pause=0.05)
    looking = asyncio.create_task(upkeep.run())
    await asyncio.sleep(0.3)
    assert upkeep.intact and not looking.done() and swept
    with psycopg.connect(database.superuser_url) as intruder:
        intruder.execute("DROP POLICY tenant_reads ON audit.header")
    await asyncio.wait_for(looking, 20)
    assert not upkeep.intact


async def test_a_database_that_is_away_changes_nothing(database: Database) -> None:
    """What cannot be asked was not altered: the next turn asks again."""
    upkeep = Upkeep(DatabaseUrl(database.app_url.replace("port=5432", "port=5433")), lambda: None)
    await upkeep.look()
    assert upkeep.intact


def test_an_altered_catalog_is_not_served_at_the_start(database: Database, tmp_path: Path) -> None:
    """A database of one's own is compared with this release before anything starts."""
    given = Settings.read(
        {
            "PALIMPSEST_HOME": str(tmp_path),
            "PALIMPSEST_DATABASE_URL": database.app_url,
            "PALIMPSEST_READER_URL": database.reader_url,
        }
    )
    with open_database(given) as urls:
        assert urls.app.startswith(database.app_url)
    with psycopg.connect(database.superuser_url) as intruder:
        intruder.execute("CREATE RULE swallow AS ON INSERT TO audit.body DO INSTEAD NOTHING")
    with pytest.raises(CatalogAltered, match="Nothing is served or exported: put back what was changed"), open_database(given):
        pass


async def test_an_erasure_that_was_cut_off_is_done_at_the_next_start(database: Database, tmp_path: Path) -> None:
    """The record was committed and the process died before the keys were destroyed: the next start destroys them."""
    async with housed(database, tmp_path) as inside:
        answer = await inside.ask("a secret")
        (opening,) = (body for body in inside.records(answer) if isinstance(body, RequestOpen))
        acting = Lifecycle(inside.house.writer, database.app_url, database.reader_url, inside.log.keys)
        keys_before = {path.name: path.read_bytes() for path in (inside.log.keys / "months").iterdir()}
        await acting.erase(TENANT, opening.caller, Warrant("asked to be forgotten", "ann", "bob"))
        for name, content in keys_before.items():
            (inside.log.keys / "months" / name).write_bytes(content)
        assert any(isinstance(body, PromptBody) for body in inside.records(answer))
    async with housed(database, tmp_path) as inside:
        assert inside.records(answer) == []
        assert (await inside.ask()).status_code == 200
