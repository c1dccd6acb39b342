"""Every log that grows is anchored in the log of checkpoints while the gateway serves, and its readers can prove it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

from audit.acts import Anchored
from audit.anchor import check_anchor, read_anchor
from audit.header import decode_header
from audit.kept_anchors import KeptAnchors
from audit.ledger import checkpoint_file, log_origin, newest_kept
from audit.note import decode_vkey, encode_base64, tree_of
from audit.records import Kind
from audit.sealer import open_body
from audit.signer import Signer
from audit.store import read_tenant
from audit.verify import Report, Verdict, verify
from audit.writer import SYSTEM
from gateway.api.openapi.document import OPERATIONS
from gateway.bundles import Disclose, Made, export_log
from gateway.house import House
from gateway.log_health import await_checkpoint
from gateway.people.names import Role
from tests.audit.writer_samples import TENANT
from tests.gateway.housed import Housed, housed
from tests.gateway.ui.browsing import site
from tests.postgres_fixtures import Database


@asynccontextmanager
async def asked(database: Database, home: Path) -> AsyncIterator[Housed]:
    """A house that has answered once, and whose log is under a checkpoint."""
    async with housed(database, home) as here:
        await signed(here, (await here.ask()).json()["palimpsest"]["last_seq"] + 1)
        yield here


async def signed(here: Housed, size: int) -> None:
    """Wait until so many records are under a checkpoint."""
    await asyncio.to_thread(await_checkpoint, here.house.urls.reader, TENANT, size)


def keys_of(house: House, tenant: str) -> tuple[str, ...]:
    """The verifier keys of a log."""
    return Signer(house.settings.keys, log_origin(house.settings.origin, tenant)).vkeys


async def exported(house: House, tenant: str, out: Path) -> Made:
    """The whole log of a tenant."""
    return await asyncio.to_thread(export_log, house.settings, house.urls.reader, tenant, out, Disclose.ALL)


def judged(house: House, made: Made) -> Report:
    """The verdict on an export under the keys of the log of checkpoints."""
    return verify(made.folder, made.vkeys, made.origin, anchors=keys_of(house, SYSTEM))


def anchors(house: House) -> list[Anchored]:
    """What the log of checkpoints says, oldest first."""
    with read_tenant(house.urls.reader, SYSTEM) as reader:
        rows = [(decode_header(row.header), row.body) for row in reader.acts(kinds=[Kind.ANCHORED])]
    found = [open_body(house.keys, header, body) for header, body in rows if body is not None]
    return [act for act in found if isinstance(act, Anchored)]


async def test_a_log_that_grew_is_anchored_once(database: Database, tmp_path: Path) -> None:
    """Each tree is recorded once, under the name of its log; what has not grown is left alone, and so is the log itself."""
    async with asked(database, tmp_path) as here:
        for _ in range(2):
            await here.house.anchoring.look()
        first = anchors(here.house)
        await signed(here, (await here.ask()).json()["palimpsest"]["last_seq"] + 1)
        await here.house.anchoring.look()
        both = anchors(here.house)
        system = await exported(here.house, SYSTEM, tmp_path / "system")
        assert [tree.origin for tree in both] == [here.house.origin(TENANT)] * 2 and both[:1] == first
        assert 0 < both[0].size < both[1].size
        assert verify(system.folder, system.vkeys, system.origin).verdict in (Verdict.VERIFIED, Verdict.INCOMPLETE)


async def test_an_export_brings_what_bears_it_out(database: Database, tmp_path: Path) -> None:
    """The bundle holds the anchor, which its verifier proves by the keys of the log of checkpoints alone."""
    async with asked(database, tmp_path) as here:
        await here.house.anchoring.look()
        made = await exported(here.house, TENANT, tmp_path / "out")
        report = judged(here.house, made)
        assert report.verdict is Verdict.VERIFIED and report.anchored is not None
        assert 0 < report.anchored <= report.records


async def test_the_anchor_is_served_to_its_own_tenant(database: Database, tmp_path: Path) -> None:
    """A key reads what the log of checkpoints says of its own log, as described, of no other, and before that nothing."""
    async with asked(database, tmp_path) as here:
        assert (await here.client.get(f"/log/{TENANT}/anchor")).status_code == 404
        await here.house.anchoring.look()
        answer = await here.client.get(f"/log/{TENANT}/anchor")
        keys = [decode_vkey(text) for text in keys_of(here.house, SYSTEM)]
        kept = check_anchor(read_anchor(answer.content), keys, here.house.origin(TENANT))
        described = next(each for each in OPERATIONS if each.path == "/log/{tenant}/{path}").answers["200"].content
        assert answer.headers["content-type"] == "application/json" and json.loads(answer.content).keys() >= {"proof"}
        assert "application/json" in described
        assert kept.tree.size > 0 and SYSTEM in kept.whose
        assert (await here.client.get("/log/beta/anchor")).status_code == 404


async def test_a_database_that_went_back_is_held_to_its_anchor(database: Database, tmp_path: Path) -> None:
    """Records that were cut off with their checkpoints are missed by whoever has an anchor of before."""
    async with asked(database, tmp_path) as here:
        await here.house.anchoring.look()
        size = KeptAnchors(here.house.settings.keys).size(here.house.origin(TENANT))
        with psycopg.connect(database.superuser_url) as intruder:
            intruder.execute("SET session_replication_role = replica")
            for table in ("body", "header"):
                intruder.execute(f"DELETE FROM audit.{table} WHERE tenant = %s AND seq >= %s", (TENANT, size - 2))
            intruder.execute("DELETE FROM audit.checkpoint WHERE tenant = %s AND size > %s", (TENANT, size - 2))
        report = judged(here.house, await exported(here.house, TENANT, tmp_path / "cut"))
    assert report.verdict is Verdict.INCOMPLETE
    assert any(f"covers {size} records" in finding.message for finding in report.findings)


async def test_what_the_disk_changed_is_neither_recorded_nor_told(database: Database, tmp_path: Path) -> None:
    """A checkpoint with another root would be a second history under the log's keys; a kept anchor is proved or nobody's."""
    async with asked(database, tmp_path) as here:
        house = here.house
        file = checkpoint_file(house.settings.keys, house.origin(TENANT))
        good = file.read_bytes()
        root = tree_of(newest_kept(file)[0]).root
        spelled = encode_base64(root).encode()
        file.write_bytes(good.replace(spelled, encode_base64(bytes(32)).encode()))
        await house.anchoring.look()
        assert anchors(house) == []
        file.write_bytes(good)
        await house.anchoring.look()
        kept = KeptAnchors(house.settings.keys)
        (line,) = (path for path in kept.folder.iterdir() if path.suffix == ".json")
        line.write_bytes(line.read_bytes().replace(b"index ", b"index 1", 1))
        assert kept.newest(house.origin(TENANT)) is None
        await house.anchoring.look()
        assert kept.size(house.origin(TENANT)) > 0 and len(anchors(house)) == 2


async def test_two_processes_take_turns(database: Database, tmp_path: Path) -> None:
    """However many look at once, one tree is recorded once."""
    async with asked(database, tmp_path) as here:
        await asyncio.gather(*(here.house.anchoring.look() for _ in range(4)))
        assert len(anchors(here.house)) == 1


async def test_the_page_of_the_log_tells_how_far_it_is_anchored(database: Database, tmp_path: Path) -> None:
    """Before the first anchor it says so, and afterwards how many records are borne out."""
    async with site(database, tmp_path) as here, here.signed_in("ada", Role.AUDITOR) as browser:
        assert "none yet" in (await browser.get("/log")).text
        await signed(here.housed, (await here.housed.ask()).json()["palimpsest"]["last_seq"] + 1)
        await here.housed.house.anchoring.look()
        assert "none yet" not in (shown := (await browser.get("/log")).text) and "anchored in system" in shown
