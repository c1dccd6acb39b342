"""Laws of `palimpsest audit export`: a real log in a real database, through the command that a person types."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shlex
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from click.testing import CliRunner, Result

import policies
from audit.__main__ import USAGE, main
from audit.acts import Export, KeyChange, PolicyChange
from audit.export import Format
from audit.header import decode_header, uuid7
from audit.keys import KeyStore
from audit.ledger import log_origin
from audit.note import Scheme
from audit.records import Body, DecodeRun, Kind
from audit.sealer import open_body
from audit.signer import Signer
from audit.store import read_tenant
from audit.verify import Verdict, verify
from audit.writer import Entry
from engine.model.checkpoint import digest
from engine.tokenizer import Tokenizer
from gateway.account import account
from gateway.bundles import Disclose, Made, export_log
from gateway.cli import palimpsest
from gateway.cli.audit import FORMATS
from gateway.people import passwords
from gateway.people.names import Role
from gateway.settings import DatabaseUrl, Settings
from policies.policy import seal
from tests.audit.export_samples import altered
from tests.audit.samples import POLICY, SAMPLES, WHOLE_REQUEST
from tests.audit.writer_samples import TENANT, Place
from tests.gateway.commanding import command_line
from tests.gateway.planted import AFFORDABLE, PASSWORD, plant_tenant, plant_user
from tests.postgres_fixtures import Database

AS_ADA = ("--by", "ada", "--password-stdin")
REQUEST = UUID("0198c0de-0005-7000-8000-000000000005")


@pytest.fixture
def settings(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Settings:
    """An installation with one tenant, whose log holds one whole request."""
    command_line(monkeypatch, capsys, tmp_path / "home", database)
    monkeypatch.setattr(passwords.Passwords.__init__, "__defaults__", (AFFORDABLE,))
    found = Settings.read(os.environ)
    asyncio.run(_fill(Place(database, found.keys, found.origin), REQUEST, WHOLE_REQUEST))
    return found


async def _fill(place: Place, request: UUID, bodies: Sequence[Body]) -> None:
    async with place.writing(TENANT) as writer:
        await writer.append([Entry(TENANT, request, "key-1", POLICY, body) for body in bodies])


async def _work(place: Place, over: threading.Event) -> None:
    async with place.writing(TENANT) as writer:
        while not over.is_set():
            request = uuid7()
            await writer.append([Entry(TENANT, request, "key-1", POLICY, body) for body in WHOLE_REQUEST])


async def _enact(place: Place, change: PolicyChange) -> None:
    async with place.writing(TENANT) as writer:
        await writer.append([Entry(TENANT, None, change.requested_by, None, change)])


def acts(settings: Settings, database: Database, tenant: str) -> list[Body]:
    """The administrative acts in a tenant's log."""
    store = KeyStore(settings.keys)
    with read_tenant(database.reader_url, tenant) as reader:
        rows = [(decode_header(row.header), row.body or b"") for row in reader.acts()]
    return [open_body(store, header, body) for header, body in rows]


def run(*arguments: str) -> Result:
    """`palimpsest audit` with these arguments."""
    return CliRunner().invoke(palimpsest, ("audit", *arguments))


def export(out: Path, *more: str, typed: str | None = None) -> Result:
    """`palimpsest audit export` into this folder, with a reason."""
    words = ("audit", "export", "--tenant", TENANT, "--out", str(out), "--reason", "audit 7", *more)
    return CliRunner().invoke(palimpsest, words, input=typed)


def test_the_command_writes_what_it_is_asked_for(settings: Settings, tmp_path: Path) -> None:
    """Every format comes out of one command, the printed line verifies the bundle, and the policy in force lies in it."""
    out = tmp_path / "out"
    done = export(out, *(word for name in FORMATS for word in ("--format", name)))
    assert done.exit_code == 0, done.output
    first, line, more = done.stdout.splitlines()
    assert first == f"11 records in {out}, and 9 derived files"
    printed = shlex.split(line.partition("python -m audit ")[2])
    assert len(line) < 400 and printed[-1] == f"@{out}.vkeys" and more.endswith("--require ml-dsa-44")
    assert main(printed) == main([*printed, "--require", "ml-dsa-44", "--require", "ed25519"]) == 0
    assert run(*printed, "--require", "ml-dsa-44").exit_code == 0
    vkey, lattice = Path(f"{out}.vkeys").read_text().splitlines()
    assert main([*printed[:-1], lattice]) == 0 and main([*printed[:-1], f"@{tmp_path}/none.vkeys"]) == USAGE
    (policy,) = (out / "policies").iterdir()
    document = msgspec.json.decode(policy.read_bytes(), type=policies.Document)
    assert policy.stem == seal("again", document).digest.hex() == policies.load(policies.BASELINE).digest.hex()
    (envelope,) = (out / "attestations").iterdir()
    assert json.loads(envelope.read_bytes())["signatures"][0]["keyid"] == "+".join(vkey.split("+")[:2])


def test_rotated_keys_are_told_and_everything_still_verifies(settings: Settings, database: Database, tmp_path: Path) -> None:
    """`rotate` is on record and prints new keys; `keys` prints these and the old ones, under which the export verifies."""
    plant_tenant(database.app_url, TENANT)
    plant_user(database.app_url, TENANT, "ada", Role.OPERATOR)
    before = run("keys", "--tenant", TENANT).stdout.splitlines()
    done = CliRunner().invoke(palimpsest, ("audit", "rotate", "--tenant", TENANT, *AS_ADA), input=f"{PASSWORD}\n")
    after = done.stdout.splitlines()
    assert run("keys", "--tenant", TENANT).stdout.splitlines() == [*after, *before] and len({*before, *after}) == 4
    (told,) = acts(settings, database, TENANT)
    assert told == KeyChange("rotated", "signer", before[0].split("+")[1], "Ed25519 and ML-DSA-44", "ada")
    out, origin = tmp_path / "out", log_origin(settings.origin, TENANT)
    assert export(out).stdout.splitlines()[0] == f"12 records in {out}, and 1 derived file"
    assert Path(f"{out}.vkeys").read_text().splitlines() == [*after, *before]
    assert verify(out, [*after, before[0]], origin, required=[Scheme.ML_DSA_44]).verdict is Verdict.VERIFIED
    assert verify(out, after, origin).verdict is Verdict.TAMPERED
    assert run("rotate", "--tenant", "nobody").exit_code != 0


def test_the_policies_that_decided_lie_in_the_export(settings: Settings, database: Database, tmp_path: Path) -> None:
    """Each policy that a disclosed record put in force lies under its SHA-256, which decisions name; a sealed one does not."""
    shipped = policies.load(policies.BASELINE)
    own = seal(TENANT, msgspec.structs.replace(shipped.document, tenant=TENANT))
    change = PolicyChange(shipped.digest, own.digest, policies.written(own), "stricter", "pol", "kay")
    asyncio.run(_enact(Place(database, settings.keys, settings.origin), change))
    for name, words, found in (("all", (), {shipped.digest, own.digest}), ("sealed", ("--sealed",), {shipped.digest})):
        done = export(tmp_path / name, *words)
        assert done.exit_code == 0, done.output
        files = list((tmp_path / name / "policies").iterdir())
        assert {bytes.fromhex(each.stem) for each in files} == found
        assert all(hashlib.sha256(each.read_bytes()).hexdigest() == each.stem for each in files)


def test_a_sealed_export_shows_no_content(settings: Settings, tmp_path: Path) -> None:
    """With --sealed there is a row and an event for each record and no document about any generation."""
    out = tmp_path / "out"
    done = export(out, "--sealed", "--format", "csv", "--format", "html")
    assert done.exit_code == 0, done.output

    assert not (out / "reports").exists()
    assert (out / "records.not-evidence.csv").read_text().count('"undisclosed"') == 11


def test_one_request_can_be_shown_with_its_acts(settings: Settings, database: Database, tmp_path: Path) -> None:
    """--request opens that request and the export itself; a request that is not there, or --sealed beside it, is refused."""
    out, origin = tmp_path / "out", log_origin(settings.origin, TENANT)
    asyncio.run(_fill(Place(database, settings.keys, settings.origin), uuid7(), WHOLE_REQUEST))
    done = export(out, "--request", str(REQUEST))
    assert done.exit_code == 0, done.output
    (told,) = acts(settings, database, TENANT)
    assert told == Export("jsonl", 20, "requests", 1, "audit 7", account())
    report = verify(out, [Signer(settings.keys, origin).vkey], origin)
    assert (report.verdict, report.records, report.decrypted) == (Verdict.VERIFIED, 21, 11)
    assert export(out, "--request", str(REQUEST), "--sealed").exit_code == 2
    assert export(out, "--request", str(uuid7())).exit_code != 0 and len(acts(settings, database, TENANT)) == 1


def test_an_export_is_on_record_before_it_is_made(settings: Settings, database: Database, tmp_path: Path) -> None:
    """Who took the log out, why and how much of it stands in that very log, and so in the bundle; what was refused does not."""
    done = export(tmp_path / "out")
    assert done.exit_code == 0, done.output
    (told,) = acts(settings, database, TENANT)
    assert told == Export("jsonl", 10, "all", 0, "audit 7", account())
    blocked = tmp_path / "full"
    blocked.mkdir()
    (blocked / "something").touch()
    assert export(blocked).exit_code != 0
    assert len(acts(settings, database, TENANT)) == 1


def test_an_export_of_a_log_that_grows_verifies(settings: Settings, database: Database, tmp_path: Path) -> None:
    """Beside a gateway at work an export ends where its newest checkpoint does: the verifier misses none."""
    place, over = Place(database, settings.keys, settings.origin), threading.Event()
    gateway = threading.Thread(target=lambda: asyncio.run(_work(place, over)))
    gateway.start()
    try:
        done = export(tmp_path / "out")
    finally:
        over.set()
        gateway.join()
    assert done.exit_code == 0, done.output
    report = verify(tmp_path / "out", Path(f"{tmp_path}/out.vkeys").read_text().split(), log_origin(settings.origin, TENANT))
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, []) and report.covered == report.records > 11


def test_a_name_that_proved_nothing_reaches_no_log(settings: Settings, database: Database, tmp_path: Path) -> None:
    """`--by` takes the password of a user with the role, whichever act it is; a refused one leaves no record and no export."""
    acted = {
        "export": ("--out", str(tmp_path / "out"), "--reason", "audit 7"),
        "rotate": (),
        "replay": ("--reason", "audit 7", str(REQUEST)),
    }
    plant_tenant(database.app_url, TENANT)
    plant_user(database.app_url, TENANT, "carl", Role.CALLER)
    plant_user(database.app_url, TENANT, "grace", Role.AUDITOR)
    plant_user(database.app_url, TENANT, "ada", Role.OPERATOR)
    for name, rest in acted.items():
        wrong = "grace" if name == "rotate" else "ada"  # a proved user, whose role is another
        for by, password in (("grace", "wrong horse battery"), ("nobody", PASSWORD), (account(), PASSWORD), (wrong, PASSWORD)):
            words = ("audit", name, "--tenant", TENANT, "--by", by, *rest)
            assert CliRunner().invoke(palimpsest, (*words, "--password-stdin"), input=f"{password}\n").exit_code != 0
            assert CliRunner().invoke(palimpsest, words).exit_code != 0  # there is nobody to ask
    assert acts(settings, database, TENANT) == [] and not (tmp_path / "out").exists()


def test_a_proved_auditor_is_on_record_by_name(settings: Settings, database: Database, tmp_path: Path) -> None:
    """Who gives the password of an auditor exports in that name; one of tenant `system` is named so."""
    plant_tenant(database.app_url, TENANT)
    plant_user(database.app_url, TENANT, "grace", Role.AUDITOR)
    plant_user(database.app_url, "system", "sue", Role.AUDITOR)
    for by, folder in (("grace", "one"), ("system/sue", "two")):
        done = export(tmp_path / folder, "--by", by, "--password-stdin", typed=f"{PASSWORD}\n")
        assert done.exit_code == 0, done.output
    assert [act.requested_by for act in acts(settings, database, TENANT) if isinstance(act, Export)] == ["grace", "system/sue"]


@pytest.mark.parametrize("reason", [(), ("--reason", "  ")], ids=["none", "blank"])
def test_whoever_takes_a_log_out_says_why(settings: Settings, database: Database, tmp_path: Path, reason: tuple[str]) -> None:
    """Without a reason, or with an empty one, nothing is exported and nothing read again."""
    for words in (("export", "--out", str(tmp_path / "out")), ("replay", str(REQUEST))):
        done = run(*words, "--tenant", TENANT, *reason)
        assert done.exit_code == 2 and "--reason" in done.stderr
    assert acts(settings, database, TENANT) == [] and not (tmp_path / "out").exists()


def test_a_broken_log_can_still_be_taken_out(settings: Settings, database: Database, tmp_path: Path) -> None:
    """A log that went back in time takes no record: its export stands in the log of `system`, and the command says so."""
    Place(database, settings.keys, settings.origin).restore(4)
    done = export(tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "on record in 'system'" in done.stderr and acts(settings, database, TENANT) == []
    assert [type(act) for act in acts(settings, database, "system")] == [Export]


def test_an_old_copy_of_keys_shows_nothing_that_was_erased(settings: Settings, database: Database, tmp_path: Path) -> None:
    """Whoever reads content from a folder of keys that was put back destroys the erased ones first, as a start would."""
    plant_tenant(database.app_url, TENANT)
    for name, role in (("ada", Role.OPERATOR), ("grace", Role.AUDITOR)):
        plant_user(database.app_url, TENANT, name, role)
    months = settings.keys / "months"
    shutil.copytree(months, tmp_path / "copy")
    words = ("retention", "erase", "--tenant", TENANT, "--subject", "key-1", "--reason", "asked", "--by", "ada",
             "--approved-by", "grace", "--password-stdin")  # fmt: skip
    erased = CliRunner().invoke(palimpsest, words, input=f"{PASSWORD}\n{PASSWORD}\n")
    assert erased.stdout == "record 10: 1 key destroyed\n", erased.output
    shutil.copytree(tmp_path / "copy", months, dirs_exist_ok=True)
    out, origin = tmp_path / "out", log_origin(settings.origin, TENANT)
    assert export(out).exit_code == 0
    report = verify(out, Path(f"{out}.vkeys").read_text().split(), origin)
    assert report.verdict is Verdict.INCOMPLETE and report.decrypted == 2
    assert "was erased by record 10" in report.findings[0].message
    shutil.copytree(tmp_path / "copy", months, dirs_exist_ok=True)
    again = run("replay", "--tenant", TENANT, "--reason", "asked", str(REQUEST))
    assert again.exit_code == 3 and "erased" in again.stderr


def test_a_watcher_hears_of_how_many(settings: Settings, database: Database, tmp_path: Path) -> None:
    """The one who waits is told how many records of how many are written."""
    heard: list[tuple[int, int]] = []
    made: Made = export_log(
        settings, DatabaseUrl(database.reader_url), TENANT, tmp_path / "out", Disclose.ALL,
        watch=lambda done, total: heard.append((done, total)),
    )  # fmt: skip
    assert (made.records, heard) == (10, [(10, 10)])


def test_words_are_those_of_the_configured_model(settings: Settings, database: Database, tmp_path: Path) -> None:
    """A page shows an answer in words when the configured checkpoint wrote it, and in token ids when another model did."""
    tokenizer, weights = Tokenizer.load(settings.checkpoint), bytes.fromhex(digest(settings.checkpoint))
    run_ = DecodeRun(start=3, output=tuple(tokenizer.encode("return total")), logprob=(), forwards=1)
    ours = [altered(SAMPLES[Kind.REQUEST_OPEN], weights_digest=weights), run_]
    asyncio.run(_fill(Place(database, settings.keys, settings.origin), uuid7(), ours))
    export_log(settings, DatabaseUrl(database.reader_url), TENANT, tmp_path / "out", Disclose.ALL, frozenset({Format.HTML}))
    theirs, known = (path.read_text() for path in sorted((tmp_path / "out" / "reports").iterdir()))
    assert "7 40 51 60 70000 80 11" in theirs
    assert "return total" in known


def test_the_command_knows_every_format() -> None:
    """What may be typed after --format is exactly what the audit room can write."""
    assert set(FORMATS) == {each.value for each in Format}


def test_help_shows_examples_and_says_that_parts_cannot_be_had() -> None:
    """--help lists the formats, the extra that one needs, examples, and why there is no range."""
    told = " ".join(run("export", "--help").stdout.translate(str.maketrans("", "", "│╭╮╰╯─")).split())
    assert "palimpsest audit export --tenant acme --out acme-log --reason 'case 7' --format html --format in-toto" in told
    assert "whole log" in told and "extra `export`" in told
    assert "--from" not in told
    assert run("export", "--tenant", TENANT, "--out", "x", "--from", "3").exit_code == 2
