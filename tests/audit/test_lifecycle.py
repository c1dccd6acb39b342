"""Erasure, holds and retention on a real log: recorded first, done durably, told apart by the verifier from damage."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from audit import lifecycle as acts
from audit.acts import KEEPER, Erasure, commit_to
from audit.durable import locked
from audit.errors import InvalidRecord, KeyUnavailable
from audit.header import decode_header
from audit.keys import KeyStore
from audit.lifecycle import ActRefused, Warrant
from audit.store import LogRefused, read_tenant
from audit.verify import Report, Verdict, verify
from audit.writer import Writer
from migrations.catalog import Guard, require_intact
from tests.audit.writer_samples import TENANT, Place, entry
from tests.migrations.test_partitions import january, months
from tests.postgres_fixtures import Database

WARRANT = Warrant("request 17", "ada", "grace")
ALICE, BOB = "key-alice", "key-bob"


def judged(place: Place, name: str = "bundle") -> Report:
    """The verifier's report on an export that discloses whatever still can be."""
    out = place.keys.parent / name
    vkey, origin = place.export(out)
    return verify(out, [vkey], origin)


def readable(place: Place) -> list[bool]:
    """Per record, whether its month key still exists."""
    store = KeyStore(place.keys)

    def exists(key_id: str) -> bool:
        try:
            return bool(store.find(key_id))
        except KeyUnavailable:
            return False

    with read_tenant(place.database.reader_url, TENANT) as reader:
        return [exists(decode_header(row.header).key_id) for row in reader.records()]


async def test_an_erased_subject_is_unreadable_and_the_rest_untouched(place: Place) -> None:
    """After an erasure the subject's records are unreadable and proven, others readable, and the report names the act."""
    async with place.writing() as writer:
        for subject in (ALICE, BOB, ALICE):
            await writer.append([entry("a secret", subject=subject)])
        done = await place.lifecycle(writer).erase(TENANT, ALICE, WARRANT)
        await writer.append([entry("after", subject=ALICE)])
    assert (done.seq, len(done.key_ids)) == (3, 1)
    assert readable(place) == [False, True, False, True, True]
    report = judged(place)
    assert (report.verdict, report.covered, report.decrypted) == (Verdict.INCOMPLETE, 5, 3)
    (finding,) = report.findings
    assert (finding.seq, "erased by record 3" in finding.message) == (0, True)


async def test_a_running_gateway_seals_nothing_under_an_erased_key(place: Place) -> None:
    """A writer that holds an erased key in memory makes a new one for the next record, whoever erased it."""
    async with place.writing() as serving:
        await serving.append([entry("before", subject=ALICE)])
        async with place.writing() as other:
            await place.lifecycle(other).erase(TENANT, ALICE, WARRANT)
        await serving.append([entry("after", subject=ALICE)])
    assert readable(place) == [False, True, True]
    assert judged(place).decrypted == 2


async def test_a_hold_forbids_erasure_until_two_people_release_it(place: Place) -> None:
    """A hold on the subject or the tenant refuses its erasure, with a record that says so; another subject's does not."""
    async with place.writing() as writer:
        for subject in (ALICE, BOB):
            await writer.append([entry("a secret", subject=subject)])
        lifecycle = place.lifecycle(writer)
        holds = [await lifecycle.place_hold(TENANT, scope, "case 7", "ada") for scope in (ALICE, None)]
        for subject in (ALICE, BOB):
            with pytest.raises(ActRefused, match=str(holds[1].hold)):
                await lifecycle.erase(TENANT, subject, WARRANT)
        with pytest.raises(InvalidRecord, match="second person"):
            await lifecycle.release_hold(TENANT, holds[1].hold, Warrant("closed", "ada", "ADA"))
        await lifecycle.release_hold(TENANT, holds[1].hold, WARRANT)
        with pytest.raises(ActRefused, match="does not stand"):
            await lifecycle.release_hold(TENANT, holds[1].hold, WARRANT)
        with pytest.raises(ActRefused, match="forbids"):
            await lifecycle.erase(TENANT, ALICE, WARRANT)
        await lifecycle.erase(TENANT, BOB, WARRANT)
        assert list((await lifecycle.standing(TENANT)).holds) == [holds[0].hold]
    assert readable(place)[:2] == [True, False]
    with read_tenant(place.database.reader_url, TENANT) as reader:
        kinds = [decode_header(row.header).kind for row in reader.acts()]
    assert kinds == [43, 43, 50, 50, 44, 50, 42]
    assert judged(place).verdict is Verdict.INCOMPLETE


async def test_nobody_erases_nothing_or_the_acts_themselves(place: Place) -> None:
    """An unknown subject, one person under two spellings and the keeper of the acts are refused; nothing else is recorded."""
    async with place.writing() as writer:
        await writer.append([entry("a secret", subject=ALICE)])
        lifecycle = place.lifecycle(writer)
        with pytest.raises(ActRefused, match="nothing to erase"):
            await lifecycle.erase(TENANT, "key-nobody", WARRANT)
        with pytest.raises(ActRefused, match="administrative"):
            await lifecycle.erase(TENANT, KEEPER, WARRANT)
        with pytest.raises(InvalidRecord, match="second person"):
            await lifecycle.erase(TENANT, ALICE, Warrant("x", "ada", "Ada"))
        with pytest.raises(InvalidRecord, match="administrative"):
            await writer.append([entry("hidden", subject=KEEPER)])
    assert readable(place) == [True]


async def test_an_erasure_cut_off_after_its_record_is_finished_later(place: Place) -> None:
    """The record is durable before a key is gone: what a killed process or an old keys folder leaves is destroyed later."""
    async with place.writing() as writer:
        await writer.append([entry("a secret", subject=ALICE)])
        shutil.copytree(place.keys / "months", place.keys.parent / "old-months")
        key_ids = KeyStore(place.keys).keys_of(TENANT, ALICE)
        act = Erasure(commit_to(ALICE, bytes(16)), bytes(16), key_ids, "request 17", "ada", "grace")
        await writer.append([entry("", actor="ada", body=act)])
    assert readable(place)[0]
    for _ in range(2):
        async with place.writing() as writer:
            await place.lifecycle(writer).finish(TENANT)
        assert readable(place) == [False, True]
        shutil.copytree(place.keys.parent / "old-months", place.keys / "months", dirs_exist_ok=True)
    assert readable(place)[0]


async def test_retired_bodies_are_gone_and_proofs_stay(place: Place) -> None:
    """A retirement removes the bodies older than the rule and no other, once, and the report names its record."""
    await place.aged(4, days=200)
    async with place.writing() as writer:
        lifecycle = place.lifecycle(writer)
        with pytest.raises(ActRefused, match="for ever"):
            await lifecycle.retire(TENANT, "cron")
        await lifecycle.set_rule(TENANT, 300, WARRANT)
        assert await lifecycle.retire(TENANT, "cron") is None
        await lifecycle.set_rule(TENANT, 184, WARRANT)
        await writer.append([entry("young")])
        done = await lifecycle.retire(TENANT, "cron")
        assert done is not None
        assert (done.first, done.last, done.bodies) == (0, 3, 4)
        assert await lifecycle.retire(TENANT, "cron") is None
    with read_tenant(place.database.reader_url, TENANT) as reader:
        assert [row.body is None for row in reader.records()] == [True] * 4 + [False] * 4
    report = judged(place)
    assert (report.verdict, report.covered) == (Verdict.INCOMPLETE, 8)
    (finding,) = report.findings
    assert f"retired by record {done.seq}" in finding.message


async def test_what_waits_for_a_decision_is_not_retired(place: Place) -> None:
    """A rule shorter than an approval takes lets the oldest held answer, and what follows it, stay until it is decided."""
    await place.aged(4, days=200)
    with psycopg.connect(place.database.superuser_url) as superuser:
        superuser.execute("SET session_replication_role = replica")
        request = uuid.uuid4()
        superuser.execute("UPDATE audit.header SET request = %s WHERE seq IN (1, 2)", (request,))
        superuser.execute("UPDATE audit.header SET kind = 20 WHERE seq = 2")
    async with place.writing() as writer:
        lifecycle = place.lifecycle(writer)
        await lifecycle.set_rule(TENANT, 30, WARRANT)
        done = await lifecycle.retire(TENANT, "cron")
        assert done is not None and (done.first, done.last) == (0, 0)
        assert await lifecycle.retire(TENANT, "cron") is None
        with psycopg.connect(place.database.superuser_url) as superuser:
            superuser.execute("SET session_replication_role = replica")
            superuser.execute("UPDATE audit.header SET kind = 24, request = %s WHERE seq = 3", (request,))
        done = await lifecycle.retire(TENANT, "cron")
        assert done is not None and (done.first, done.last) == (1, 3)


async def test_many_bodies_are_retired_part_by_part(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """No removal takes more bodies than a part, each has its record, appends come between, and the verifier accepts it."""
    monkeypatch.setattr(acts, "AT_ONCE", 3)
    await place.aged(7, days=200)
    async with place.writing() as writer:
        lifecycle = place.lifecycle(writer)
        await lifecycle.set_rule(TENANT, 184, WARRANT)
        beside = asyncio.create_task(_keep_appending(writer))
        done = await lifecycle.retire(TENANT, "cron")
        beside.cancel()
        parts = (await lifecycle.standing(TENANT)).retired
        assert await lifecycle.retire(TENANT, "cron") is None
    assert [(part.first, part.last) for part in parts] == [(0, 2), (3, 5), (6, 6)]
    assert done is not None
    assert (done.seq, done.first, done.last, done.bodies) == (parts[-1].seq, 0, 6, 7)
    assert done.seq - parts[0].seq > 2
    (finding,) = judged(place).findings
    assert f"retired by record {parts[0].seq}, {parts[1].seq}, {done.seq}" in finding.message


async def test_a_retirement_beside_a_reader_is_done(place: Place) -> None:
    """While a snapshot of the log is read bodies are retired all the same; only an emptied month goes later."""
    january(place.database)
    await place.aged(2, days=200)
    async with place.writing() as writer:
        lifecycle = place.lifecycle(writer)
        await lifecycle.set_rule(TENANT, 184, WARRANT)
        with read_tenant(place.database.reader_url, TENANT) as reader:
            assert len(list(reader.records())) == 3
            done = await lifecycle.retire(TENANT, "cron")
            assert done is not None and done.bodies == 2
            assert len(months(place.database)) == 5


async def _keep_appending(writer: Writer) -> None:
    while True:
        await writer.append([entry("young")])


async def test_a_hold_forbids_retirement(place: Place) -> None:
    """While any hold of the tenant stands nothing is retired; the database asks for it as well as the gateway."""
    await place.aged(2, days=200)
    async with place.writing() as writer:
        lifecycle = place.lifecycle(writer)
        await lifecycle.set_rule(TENANT, 30, WARRANT)
        hold = await lifecycle.place_hold(TENANT, ALICE, "case 7", "ada")
        with pytest.raises(ActRefused, match="forbids a retirement"):
            await lifecycle.retire(TENANT, "cron")
        await lifecycle.release_hold(TENANT, hold.hold, WARRANT)
        done = await lifecycle.retire(TENANT, "cron")
    assert done is not None and done.bodies == 2


async def test_a_retirement_cut_off_after_its_record_is_finished_later(place: Place) -> None:
    """A recorded retirement that was not carried out is carried out by the next act; a hold that came first delays it."""
    await place.aged(3, days=200)
    async with place.writing() as writer:
        lifecycle = place.lifecycle(writer)
        await lifecycle.set_rule(TENANT, 30, WARRANT)
        with psycopg.connect(place.database.superuser_url, autocommit=True) as superuser:
            superuser.execute("REVOKE EXECUTE ON FUNCTION audit.retire FROM gov_app")
            with pytest.raises(LogRefused):
                await lifecycle.retire(TENANT, "cron")
            superuser.execute("GRANT EXECUTE ON FUNCTION audit.retire TO gov_app")
        await lifecycle.finish(TENANT)
    with read_tenant(place.database.reader_url, TENANT) as reader:
        assert [row.body is None for row in reader.records()] == [True] * 3 + [False] * 2


async def test_an_act_that_cannot_be_read_stops_all_others(place: Place) -> None:
    """Without the key of an act, which might be a hold, nothing is erased or retired; whoever asks hears what helps."""
    async with place.writing() as writer:
        await writer.append([entry("a secret", subject=ALICE)])
        lifecycle = place.lifecycle(writer)
        await lifecycle.place_hold(TENANT, ALICE, "case 7", "ada")
        KeyStore(place.keys).destroy(KeyStore(place.keys).keys_of(TENANT, KEEPER))
        with pytest.raises(KeyUnavailable, match=r"act 1 of 'acme' may be a hold: month key .*; restore it from a backup"):
            await lifecycle.erase(TENANT, ALICE, WARRANT)
    assert readable(place)[0]


async def test_a_restored_backup_reveals_nothing_that_was_erased(place: Place) -> None:
    """A dump taken before the erasure and restored after it holds the ciphertext, and no key for it is anywhere."""
    async with place.writing() as writer:
        await writer.append([entry("a secret", subject=ALICE)])
        await writer.append([entry("kept", subject=BOB)])
    dump = dumped(place.database)
    async with place.writing() as writer:
        await place.lifecycle(writer).erase(TENANT, ALICE, WARRANT)
    with restored(place.database, dump) as old:
        assert require_intact(old.app_url) is Guard.PRESENT
        again = Place(old, place.keys)
        assert readable(again) == [False, True]
        with read_tenant(old.reader_url, TENANT) as reader:
            assert all(row.body for row in reader.records())
        report = judged(again, "restored")
        assert (report.decrypted, report.verdict) == (1, Verdict.INCOMPLETE)


async def test_acts_that_wait_need_no_thread(place: Place) -> None:
    """However many acts are asked for at once, of one gateway or behind another process, they take turns and all are done."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    async with place.writing() as writer, asyncio.timeout(30):
        lifecycle, beside = place.lifecycle(writer), place.lifecycle(writer)
        await lifecycle.finish(TENANT)
        with locked(place.keys / "acts"):
            acts = [
                asyncio.create_task(each.place_hold(TENANT, f"key-{number}", "case 7", "ada"))
                for number in range(4)
                for each in (lifecycle, beside)
            ]
            await asyncio.sleep(0.2)
            assert await asyncio.to_thread(lambda: True)
            assert not any(act.done() for act in acts)
        holds = await asyncio.gather(*acts)
        assert set((await lifecycle.standing(TENANT)).holds) == {hold.hold for hold in holds}
        assert len(holds) == 8


def dumped(database: Database) -> bytes:
    """A whole dump of the database, as pg_dump makes it."""
    program = str(database.server.place.programs / "pg_dump")
    command = [program, "--format=custom", "--dbname", database.superuser_url]
    return subprocess.run(command, check=True, capture_output=True).stdout


@contextmanager
def restored(database: Database, dump: bytes) -> Iterator[Database]:
    """The dump in a database of its own, for a while."""
    old = Database(database.server, f"t{uuid.uuid4().hex}")
    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        superuser.execute(f"CREATE DATABASE {old.name} OWNER gov_owner")
        superuser.execute(f"GRANT CONNECT ON DATABASE {old.name} TO gov_app, gov_reader")
        program = str(database.server.place.programs / "pg_restore")
        subprocess.run([program, "--exit-on-error", "--dbname", old.superuser_url], input=dump, check=True)
        yield old
        superuser.execute(f"DROP DATABASE {old.name} WITH (FORCE)")
