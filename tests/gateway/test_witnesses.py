"""A log is witnessed while the gateway serves: proofs, exports and pages bear it, and no witness holds anybody up."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psycopg
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.acts import TenantMade
from audit.cosigning import CosignedNotes, Cosigning, WitnessPlace
from audit.ledger import log_origin
from audit.note import Checkpoint, VerifierKey, decode_vkey, sign_checkpoint
from audit.proof import check_proof
from audit.quorum import Quorum, open_cosigned
from audit.signer import ED25519_FILE, Signer, signer_folder
from audit.verify import Verdict, verify
from audit.witness import Witness
from audit.witness_server import WitnessServer
from audit.writer import SYSTEM, Entry
from gateway import witnesses
from gateway.bundles import Disclose, Tail, export_log
from gateway.log_health import await_checkpoint, await_witnesses
from gateway.people.names import Role
from gateway.settings import SettingsError
from gateway.witnesses import named_witnesses
from tests.audit.witness_samples import running
from tests.audit.writer_samples import TENANT
from tests.gateway.housed import Housed
from tests.gateway.planted import plant_tenant
from tests.gateway.ui.browsing import Site, site
from tests.postgres_fixtures import Database
from tests.waiting import until

NAME = "witness.example/w1"
TOKEN = "a-token-of-the-tests"


class Watched:
    """A witness of the log of `acme`, or another, in one home, and how the house is told of it."""

    def __init__(self, home: Path, folder: Path, tenant: str = TENANT) -> None:
        self.origin = log_origin("palimpsest.local", tenant)
        self.log_keys = tuple(map(decode_vkey, Signer(home / "keys", self.origin).vkeys))
        self.folder, self.witness = folder, Witness(folder, NAME, self.log_keys)
        self.server = WitnessServer(("127.0.0.1", 0), self.witness)

    @property
    def setting(self) -> str:
        """PALIMPSEST_WITNESSES."""
        return " ".join((f"http://127.0.0.1:{self.server.server_port}/w", *self.witness.vkeys))

    @contextmanager
    def forgetful(self) -> Iterator[None]:
        """As long as it lasts the server knows no log of this house."""
        strange = Signer(self.folder / "strange", "strange.example/log").vkeys
        self.server.witness = Witness(self.folder / "strange", NAME, tuple(map(decode_vkey, strange)))
        try:
            yield
        finally:
            self.server.witness = self.witness

    @property
    def quorum(self) -> Quorum:
        """This witness, whichever of its keys."""
        keys: tuple[VerifierKey, ...] = tuple(map(decode_vkey, self.witness.vkeys))
        return Quorum(1, keys)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """A witness that runs, asked ten times a second."""
    monkeypatch.setattr(witnesses, "ROUND_SECONDS", 0.1)
    found = Watched(tmp_path / "home", tmp_path / "w")
    with running(found.server):
        yield found


@asynccontextmanager
async def serving(database: Database, home: Path, setting: str) -> AsyncIterator[Site]:
    """A site whose house asks these witnesses."""
    async with site(database, home, witnesses=setting, metrics_token=TOKEN) as here:
        yield here


async def fetched(here: Housed, name: str) -> str | None:
    """A note of the log over HTTP, None while there is none."""
    answer = await here.client.get(f"/log/{TENANT}/{name}")
    return answer.text if answer.status_code == 200 else None


async def seen(here: Housed, watched: Watched, seq: int) -> None:
    """Wait until the witness has seen record `seq`."""

    async def is_seen() -> bool:
        note = await fetched(here, "cosigned")
        return note is not None and open_cosigned(note, watched.log_keys, watched.origin, watched.quorum).checkpoint.size > seq

    await until(is_seen)


async def test_a_record_is_proven_by_a_checkpoint_that_a_witness_has_seen(
    database: Database, tmp_path: Path, watched: Watched
) -> None:
    """Once seen, proofs and the newest checkpoint bear the cosignature and pass a check that demands it."""
    async with serving(database, tmp_path / "home", watched.setting) as here:
        assert await fetched(here.housed, "cosigned") is None
        account = (await here.housed.ask()).json()["palimpsest"]
        await seen(here.housed, watched, account["last_seq"])
        proofs = (await here.housed.client.get(f"/api/generations/{account['generation_id']}/proof")).json()["records"]
        newest = await fetched(here.housed, "checkpoint")
    assert len(proofs) == account["records"] and newest is not None
    for each in proofs:
        header = base64.b64decode(each["header"])
        proven = check_proof(each["proof"], header, watched.log_keys, watched.origin, watched.quorum)
        assert {signature.key.name for signature in proven.witnesses} == {NAME}
    assert open_cosigned(newest, watched.log_keys, watched.origin, watched.quorum).checkpoint.size > account["last_seq"]


async def test_an_export_ends_where_witnesses_have_seen_it(database: Database, tmp_path: Path, watched: Watched) -> None:
    """It waits for them, and its verdict stands with the witness demanded, however the log grows meanwhile."""
    async with serving(database, tmp_path / "home", watched.setting) as here:
        house = here.housed.house
        wanted = (await here.housed.ask()).json()["palimpsest"]["last_seq"] + 1
        tail = await asyncio.to_thread(await_witnesses, house.settings, house.urls.reader, TENANT, wanted)
        assert tail is Tail.WITNESSED
        watched.server.shutdown()  # what comes now is under checkpoints that nobody has seen
        after = (await here.housed.ask()).json()["palimpsest"]["last_seq"]
        house_covers = lambda: house.evidence.resource(TENANT, f"tile/entries/000.p/{after + 1}") is not None  # noqa: E731
        await until(lambda: asyncio.to_thread(house_covers))
        made = await asyncio.to_thread(
            export_log, house.settings, house.urls.reader, TENANT, tmp_path / "out", Disclose.ALL, tail=tail
        )
        whole = await asyncio.to_thread(
            export_log, house.settings, house.urls.reader, TENANT, tmp_path / "whole", Disclose.ALL, tail=Tail.SIGNED
        )
    report = verify(made.folder, made.vkeys, made.origin, witnesses=watched.quorum)
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, []) and wanted <= report.records == report.witnessed <= after
    later = verify(whole.folder, whole.vkeys, whole.origin, witnesses=watched.quorum)
    assert later.verdict is Verdict.INCOMPLETE and f"from seq {report.records} on" in later.findings[0].message


async def test_people_and_numbers_tell_of_witnesses(database: Database, tmp_path: Path, watched: Watched) -> None:
    """The log's page names who has seen how much; metrics count it under the witness's own name."""
    async with serving(database, tmp_path / "home", watched.setting) as here:
        await seen(here.housed, watched, (await here.housed.ask()).json()["palimpsest"]["last_seq"])
        async with here.signed_in("ada", Role.AUDITOR) as browser:
            shown = (await browser.get("/log")).text
        numbers = (await here.housed.client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})).text
    assert NAME in shown and "have seen" in shown and "answered 404" not in shown
    assert f'palimpsest_checkpoints_cosigned_total{{witness="{NAME}"}}' in numbers
    assert f'palimpsest_cosigning_failures_total{{witness="{NAME}"}}' in numbers


async def test_a_witness_that_is_away_holds_nobody_up(database: Database, tmp_path: Path, watched: Watched) -> None:
    """Answers and their proofs come as ever, under the newest checkpoint, and the page says why nobody has seen it."""
    watched.server.server_close()
    async with serving(database, tmp_path / "home", watched.setting) as here:
        account = (await here.housed.ask(palimpsest={"proof": True})).json()["palimpsest"]
        header = base64.b64decode(account["proof"]["header"])
        assert not check_proof(account["proof"]["proof"], header, watched.log_keys, watched.origin).witnesses
        await until(lambda: NAME in here.housed.house.witnesses.troubles(watched.origin))
        async with here.signed_in("ada", Role.AUDITOR) as browser:
            shown = (await browser.get("/log")).text
    assert "No witness has cosigned this log yet" in shown and "Unreachable" in shown


async def test_one_spoiled_log_keeps_witnesses_from_no_other(database: Database, tmp_path: Path, watched: Watched) -> None:
    """A checkpoint that somebody made unreadable in one tenant's table costs that tenant alone its witnesses."""
    async with serving(database, tmp_path / "home", watched.setting) as here:
        plant_tenant(database.app_url, "aaaa")
        with psycopg.connect(database.superuser_url, autocommit=True) as intruder:
            intruder.execute("SET session_replication_role = replica")
            intruder.execute(
                "INSERT INTO audit.checkpoint (tenant, size, root, note) VALUES ('aaaa', 1, sha256(''), 'spoiled'),"
                " ('system', 1000000, sha256(''), 'spoiled')"
            )
        await seen(here.housed, watched, (await here.housed.ask()).json()["palimpsest"]["last_seq"])


async def test_a_note_of_a_history_that_was_lost_is_used_nowhere(database: Database, tmp_path: Path, watched: Watched) -> None:
    """What witnesses saw before an old backup was restored proves nothing of this log: proofs and exports go without it."""
    async with serving(database, tmp_path / "home", "") as here:
        house, notes = here.housed.house, CosignedNotes(tmp_path / "home" / "keys")
        secret = signer_folder(house.settings.keys, watched.origin) / ED25519_FILE
        own = Ed25519PrivateKey.from_private_bytes(secret.read_bytes())
        account = (await here.housed.ask(palimpsest={"proof": True})).json()["palimpsest"]
        for size in (account["last_seq"] + 1, account["last_seq"] + 1000):
            notes.keep(sign_checkpoint(Checkpoint(watched.origin, size, bytes(32)), own))
            assert notes.newest(watched.origin) is not None
            answer = await here.housed.client.get(f"/api/generations/{account['generation_id']}/proof")
            assert answer.status_code == 200
            for each in answer.json()["records"]:
                check_proof(each["proof"], base64.b64decode(each["header"]), watched.log_keys, watched.origin)
            out = tmp_path / f"out-{size}"
            made = await asyncio.to_thread(
                export_log, house.settings, house.urls.reader, TENANT, out, Disclose.ALL, tail=Tail.WITNESSED
            )
            report = verify(made.folder, made.vkeys, made.origin)
            assert (report.verdict, report.findings) == (Verdict.VERIFIED, []) and report.records > account["last_seq"]


async def test_a_damaged_note_is_not_handed_out(database: Database, tmp_path: Path, watched: Watched) -> None:
    """What does not verify is told of once, given to nobody, and asked for anew, though the log does not grow."""
    keys = tmp_path / "home" / "keys"
    async with serving(database, tmp_path / "home", watched.setting) as here:
        await seen(here.housed, watched, (await here.housed.ask()).json()["palimpsest"]["last_seq"])
        (file,) = (keys / "cosigned").glob("*acme.note")
        good = file.read_text()
        with watched.forgetful(), structlog.testing.capture_logs() as told:
            for at in (good.index("\n\n") - 5, len(good) - 9):  # in the root, and in the last signature
                file.write_text(good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1 :])
                assert await fetched(here.housed, "cosigned") is None
                assert NAME not in (await fetched(here.housed, "checkpoint") or "")
            await until(lambda: NAME in here.housed.house.witnesses.troubles(watched.origin))
        assert [each["event"] for each in told].count("checkpoint.cosigned_damaged") == 1
        notes = CosignedNotes(keys, named_witnesses(watched.setting.split()))
        await until(lambda: notes.newest(watched.origin) is not None)


async def test_a_witness_of_the_log_of_checkpoints_alone_will_do(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it knows no other log is no failure, nobody waits for it there, and an export is held to it by its anchor."""
    monkeypatch.setattr(witnesses, "ROUND_SECONDS", 0.1)
    watched = Watched(tmp_path / "home", tmp_path / "w", SYSTEM)
    with running(watched.server), structlog.testing.capture_logs() as told:
        async with serving(database, tmp_path / "home", watched.setting) as here:
            house = here.housed.house
            await house.writer.append([Entry(SYSTEM, None, "ada", None, TenantMade("bolt", "ada"))])
            notes = CosignedNotes(house.settings.keys)
            await until(lambda: notes.newest(watched.origin) is not None)
            wanted = (await here.housed.ask()).json()["palimpsest"]["last_seq"] + 1
            await asyncio.to_thread(await_checkpoint, house.urls.reader, TENANT, wanted)
            await house.anchoring.look()
            begun = time.monotonic()
            tail = await asyncio.to_thread(await_witnesses, house.settings, house.urls.reader, TENANT, wanted)
            assert tail is Tail.SIGNED and time.monotonic() - begun < 5
            made = await asyncio.to_thread(
                export_log, house.settings, house.urls.reader, TENANT, tmp_path / "out", Disclose.ALL, tail=tail
            )
            async with here.signed_in("ada", Role.AUDITOR) as browser:
                shown = (await browser.get("/log")).text
            assert house.witnesses.troubles(house.origin(TENANT)) == {}
            assert [each.value for each in house.witnesses.failures.observed()] == [0]
    assert "by its anchors" in shown and "answered 404" not in shown
    assert [each for each in told if each["event"] == "checkpoint.not_cosigned"] == []
    report = verify(made.folder, made.vkeys, made.origin, witnesses=watched.quorum, anchors=tuple(map(str, watched.log_keys)))
    assert report.witnessed >= wanted


async def test_a_trouble_that_another_gateway_ended_is_over(database: Database, tmp_path: Path, watched: Watched) -> None:
    """Of a log that does not grow any more too: what the one could not have cosigned and the other had is no trouble."""
    keys = tmp_path / "home" / "keys"
    with watched.forgetful():
        async with serving(database, tmp_path / "home", watched.setting) as here:
            house = here.housed.house
            await here.housed.ask()
            await until(lambda: NAME in house.witnesses.troubles(watched.origin))
            newest = await fetched(here.housed, "checkpoint")
            assert newest is not None
            with running(WitnessServer(("127.0.0.1", 0), watched.witness)) as port:
                other = Cosigning([WitnessPlace(f"http://127.0.0.1:{port}/w", watched.quorum.keys)], CosignedNotes(keys))
                (asked,) = await asyncio.to_thread(lambda: list(other.ask(newest, house.evidence.log(TENANT))))
            assert asked.trouble == ""
            await until(lambda: house.witnesses.troubles(watched.origin) == {})


def test_a_witness_that_cannot_be_is_refused_at_the_start() -> None:
    """The error names the variable and shows what a witness looks like."""
    with pytest.raises(SettingsError, match="PALIMPSEST_WITNESSES: a witness is its URL"):
        named_witnesses(["https://witness.example/"])
