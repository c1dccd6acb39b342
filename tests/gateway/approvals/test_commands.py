"""`palimpsest approvals`, as a person types it, beside a real log."""

from __future__ import annotations

import asyncio
import io
import re
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

import policies
from audit.acts import Access
from audit.approvals import content_digest
from audit.lifecycle import Lifecycle, Warrant
from audit.verify import Verdict
from engine.model.checkpoint import digest
from gateway.cli.approvals import tell
from gateway.database import Urls
from gateway.law.enactment import Enactment
from gateway.law.shelf import Shelf
from gateway.on_record import writing
from gateway.settings import DatabaseUrl, Settings
from tests.engine.small import TINY
from tests.gateway.approvals.bureau import ONE, TEXT, beside, staff
from tests.gateway.commanding import Done, command_line
from tests.gateway.people.office import acts_of
from tests.gateway.planted import PASSWORD
from tests.gateway.tenant_log import TenantLog
from tests.postgres_fixtures import Database

SHA = content_digest(TEXT).hex()


@pytest.fixture
def command(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Done]:
    """Runs `palimpsest approvals` for tenant acme."""
    typed = command_line(monkeypatch, capsys, tmp_path / "home", database)

    def run(*arguments: str, password: str = PASSWORD) -> Done:
        return typed("approvals", *arguments, "--tenant", "acme", typed=f"{password}\n")

    return run


def held(database: Database, home: Path) -> tuple[TenantLog, UUID]:
    """A held answer under the shipped policy, by the shipped model."""
    settings = Settings.read({"PALIMPSEST_HOME": str(home)})
    log, people = TenantLog(database, settings.keys, settings.origin), staff(database)

    async def hold() -> UUID:
        law, weights = policies.load(policies.BASELINE), bytes.fromhex(digest(TINY))
        async with beside(log, law, people, weights) as inside:
            return await inside.held()

    return log, asyncio.run(hold())


def test_an_answer_is_read_and_approved(database: Database, tmp_path: Path, command: Callable[..., Done]) -> None:
    """The queue names it, `show` prints the very text and is on record, and an approval takes password and hash."""
    log, generation = held(database, tmp_path / "home")
    listed = command("list")
    assert (listed.status, str(generation) in re.sub(r"\s", "", listed.out)) == (0, True)
    shown = command("show", "--by", "ada", "--password-stdin", str(generation))
    assert (shown.status, shown.out) == (0, TEXT) and f"content {SHA}" in shown.err
    (access,) = acts_of(database, Settings.read({"PALIMPSEST_HOME": str(tmp_path / "home")}), "acme")
    assert isinstance(access, Access) and (access.request, access.requested_by) == (generation, "ada")
    signing = ("approve", "--by", "ada", "--password-stdin", str(generation))
    assert "64 hexadecimal digits" in command(*signing, "--content", "12").err
    assert "not proved" in command(*signing, "--content", SHA, password="wrong horse battery").err
    signed = command(*signing, "--content", SHA)
    assert signed.status == 0 and signed.out.startswith("approved, cycle 1") and "approve by Ada (ada), approval" in signed.out
    back = command("revoke", "--by", "ada", "--reason", "hm", "--password-stdin", str(generation))
    assert back.status == 0 and back.out.startswith("pending")
    no = ("reject", "--by", "kay", "--content", SHA, "--code", "unsafe", "--password-stdin", str(generation))
    assert [command(*no, *words).status for words in ((), ("--reason", " "))] == [2, 2]
    assert command(*no, "--reason", "it drops a table").out.startswith("rejected")
    assert log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


def test_standard_output_is_the_text_alone(database: Database, tmp_path: Path, command: Callable[..., Done]) -> None:
    """Whoever redirects `show` gets the very bytes, also where tenants have policies of their own: the log goes elsewhere."""
    _, generation = held(database, tmp_path / "home")
    settings = Settings.read({"PALIMPSEST_HOME": str(tmp_path / "home")})
    urls = Urls(DatabaseUrl(database.app_url), DatabaseUrl(database.reader_url))

    async def put_in_force() -> None:
        async with writing(settings, urls, "acme") as writer:
            lifecycle = Lifecycle(writer, urls.app, urls.reader, settings.keys)
            with closing(Shelf(urls.app)) as shelf:
                await Enactment(lifecycle, shelf, ONE).apply("acme", ONE, Warrant("trial", "ada", "grace"))

    asyncio.run(put_in_force())
    shown = command("show", "--by", "ada", "--password-stdin", str(generation))
    assert (shown.status, shown.out) == (0, TEXT)


def test_a_terminal_obeys_no_held_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Controls and marks that turn the direction are spelled out, so that the approver sees what is signed."""
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", terminal)
    tell("rm -rf /\r\x1b[8mls\u202e")
    assert terminal.getvalue() == "rm -rf /\u27e8U+000D\u27e9\u27e8U+001B\u27e9[8mls\u27e8U+202E\u27e9\n"


def test_who_may_not_decide_is_told_why(database: Database, tmp_path: Path, command: Callable[..., Done]) -> None:
    """Whoever looked at other content is told so, and the owner of the key is refused as one who is involved."""
    _, generation = held(database, tmp_path / "home")
    signing = ("approve", "--by", "linus", "--password-stdin", str(generation))
    stale, own = (command(*signing, "--content", content) for content in ("00" * 32, SHA))
    assert (stale.status, own.status) == (1, 1) and "stale_content" in stale.err and "excluded" in own.err


def test_the_right_to_decide_is_lent_and_ended(database: Database, tmp_path: Path, command: Callable[..., Done]) -> None:
    """Lent until a day, used in a decision, listed with its state, ended by the lender alone; the log verifies."""
    log, generation = held(database, tmp_path / "home")
    lend = ("delegate", "--by", "ada", "--to", "alan", "--until", "2099-01-01", "--reason", "on leave", "--password-stdin")
    assert "not proved" in command(*lend, password="wrong horse battery").err
    assert "it takes the role approver" in command(*lend[:2], "olga", *lend[3:]).err
    lent = command(*lend)
    assert lent.status == 0 and lent.out.endswith("alan decides for ada\n")
    number = lent.out.partition(":")[0]
    later = command(*lend, "--group", "leads", "--from", "2098-12-31T18:00")
    assert later.status == 0
    signed = ("approve", "--by", "alan", "--for", "ada", "--content", SHA, "--password-stdin", str(generation))
    assert command(*signed).status == 0
    end = ("undelegate", "--password-stdin", number)
    assert "you have no such delegation" in command(*end, "--by", "kay").err
    assert command(*end, "--by", "ada").out == f"{number}: alan decides for ada no more\n"
    listed = command("delegations").out
    rows = [line for line in listed.splitlines() if "alan" in line]
    assert len(rows) == 2 and number in rows[0] and "ended" in rows[0] and "leads" in rows[1]
    assert "coming" in rows[1] and "2098-12-31 18:00" in rows[1] and "on leave" in rows[1]
    assert log.verified(tmp_path / "out").verdict is Verdict.VERIFIED
