"""`palimpsest retention`: what a person can do about content, beside a real database."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from audit.errors import KeyUnavailable
from audit.keys import KeyStore
from gateway.export_shelf import Parcel
from gateway.people.names import Role
from gateway.settings import Settings
from tests.gateway.commanding import Done, command_line
from tests.gateway.planted import PASSWORD, plant_key, plant_tenant, plant_user
from tests.postgres_fixtures import Database

TWO = ("--by", "ada", "--approved-by", "grace", "--password-stdin")
ONE = ("--by", "ada", "--password-stdin")
STDIN = ("--password-stdin",)
PASSWORDS = f"{PASSWORD}\n{PASSWORD}\n"


USERS = {
    "ada": (Role.OPERATOR,),
    "grace": (Role.AUDITOR,),
    "all": (Role.OPERATOR, Role.AUDITOR),
    "eve": (Role.CALLER, Role.APPROVER),
}


@pytest.fixture
def retention(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Done]:
    """Runs `palimpsest` for tenant acme of a database that somebody else runs; the first word may be another group."""
    command = command_line(monkeypatch, capsys, tmp_path / "home", database)
    plant_tenant(database.app_url, "acme")
    for name, roles in USERS.items():
        plant_user(database.app_url, "acme", name, *roles)
    plant_user(database.app_url, "system", "root", Role.OPERATOR)

    def run(*arguments: str, tenant: str = "acme", typed: str = PASSWORDS) -> Done:
        return command(*arguments, "--tenant", tenant, typed=typed)

    return run


def test_rules_and_holds_are_recorded_and_shown(retention: Callable[..., Done]) -> None:
    """A rule, a hold and its release each print their record, and `show` tells what stands."""
    assert retention("retention", "show").out == "bodies are kept for ever\n"
    made = retention("retention", "rule", "--days", "184", "--reason", "six months", *TWO)
    assert (made.status, made.out) == (0, "record 0: bodies are kept for 184 days\n")
    assert retention("retention", "retire").out == "nothing is old enough\n"
    placed = retention("retention", "hold", "--reason", "case 7", *ONE).out
    (hold,) = re.findall(r"^record 1: hold ([0-9a-f-]{36})$", placed, re.MULTILINE)
    shown = retention("retention", "show").out
    assert "for 184 days (record 0)" in shown
    assert f"hold {hold} on the whole tenant (record 1): case 7" in shown
    assert retention("retention", "release", hold, "--reason", "closed", *TWO).out == f"record 2: hold {hold} is released\n"
    assert hold not in retention("retention", "show").out


def test_a_hold_is_on_somebody(retention: Callable[..., Done], database: Database) -> None:
    """A slip of the pen in a subject is refused with the key that comes nearest; a key that never asked may be held."""
    key = str(plant_key(database.app_url, "acme").id)
    slip = retention("retention", "hold", "--subject", key[:-1], "--reason", "case 7", *ONE)
    assert (slip.status, slip.out) == (1, "") and f"{key} comes nearest" in slip.err
    foreign = retention("retention", "hold", "--subject", key, "--reason", "case 7", "--by", "root", tenant="system")
    assert "tenant 'system' has no API key" in foreign.err
    assert retention("retention", "hold", "--subject", key, "--reason", "case 7", *ONE).out.startswith("record 0: hold ")


def test_a_reason_forges_no_line(retention: Callable[..., Done]) -> None:
    """What would move the cursor or begin another line is spelled out: one hold is one line."""
    retention("retention", "hold", "--reason", "case\x1b[1A\x1b[2K\nno hold stands\u202e", *ONE)
    _, shown = retention("retention", "show").out.splitlines()
    assert shown.startswith("hold ") and "U+001B" in shown and "no hold stands" in shown and "\x1b" not in shown


def test_an_erasure_destroys_keys_and_is_shown(retention: Callable[..., Done]) -> None:
    """`erase` names its record and how many keys are gone, and `show` remembers it."""
    keys = KeyStore(Settings.read(os.environ).keys)
    month = keys.month_key("acme", "key-1", 1_795_000_000_000_000)
    done = retention("retention", "erase", "--subject", "key-1", "--reason", "request 17", *TWO)
    assert (done.status, done.out) == (0, "record 0: 1 key destroyed\n")
    with pytest.raises(KeyUnavailable):
        keys.find(month.key_id)
    assert "record 0 erased 1 key" in retention("retention", "show").out


def test_an_archive_that_shows_content_goes_with_an_erasure_by_a_command(retention: Callable[..., Done]) -> None:
    """Nobody has to look at the list of exports before what is erased has left the disk."""
    settings = Settings.read(os.environ)
    KeyStore(settings.keys).month_key("acme", "key-1", 1_795_000_000_000_000)
    place = settings.home / "exports" / "of-acme"
    place.mkdir(parents=True)
    for disclosed in ("all", "nothing"):
        note = Parcel(uuid4(), "acme", "grace", "why", disclosed, 0, (), 0, 0, 2**40, 3, "origin", ())
        (place / f"{note.id}.json").write_bytes(msgspec.json.encode(note))
        (place / f"{note.id}.tar.gz").write_text(disclosed)
    assert retention("retention", "erase", "--subject", "key-1", "--reason", "request 17", *TWO).status == 0
    assert [path.read_text() for path in place.glob("*.tar.gz")] == ["nothing"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("erase", "--subject", "key-1", "--reason", "x", *TWO), "nothing to erase"),
        (("erase", "--subject", "key-1", "--reason", "x", "--by", "all", "--approved-by", "all", *STDIN), "second person"),
        (("rule", "--days", "9", "--reason", "x", "--by", "ada", "--approved-by", "ada", *STDIN), "second person"),
        (("rule", "--days", "9", "--reason", "x", "--by", "grace", "--approved-by", "all", *STDIN), "takes the role operator"),
        (("rule", "--days", "9", "--reason", "x", "--by", "ada", "--approved-by", "eve", *STDIN), "takes the role auditor"),
        (("rule", "--days", "9", "--reason", "x", "--by", "ada", "--approved-by", "nobody", *STDIN), "'nobody' is not proved"),
        (("rule", "--days", "9", "--reason", "x", "--by", "Ada", "--approved-by", "grace", *STDIN), "'Ada' is not proved"),
        (("rule", "--days", "9", "--reason", "x", "--by", "ada", "--approved-by", "grace"), "give --password-stdin"),
        (("hold", "--reason", "x", "--by", "eve", *STDIN), "takes the role auditor or operator"),
        (("release", "01936f5e-0000-7000-8000-000000000001", "--reason", "x", *TWO), "does not stand"),
        (("retire",), "for ever"),
    ],
)
def test_what_is_refused_is_one_line(retention: Callable[..., Done], arguments: tuple[str, ...], why: str) -> None:
    """An act that may not be done ends with status 1, says why in one line, and records nothing."""
    done = retention("retention", *arguments)
    assert (done.status, done.out) == (1, "")
    assert why in done.err and done.err.count("\n") == 1
    assert retention("retention", "hold", "--reason", "x", *ONE).out.startswith("record 0: ")


def test_nothing_is_done_for_no_reason(retention: Callable[..., Done]) -> None:
    """An empty reason is a mistake in how the command was called."""
    done = retention("retention", "rule", "--days", "9", "--reason", " ", *TWO)
    assert (done.status, done.out) == (2, "") and "--reason" in done.err


def test_an_unknown_tenant_is_named(retention: Callable[..., Done]) -> None:
    """Acts need a tenant that exists: a slip of the pen makes no log."""
    done = retention("retention", "show", tenant="acne")
    assert (done.status, "no tenant 'acne'" in done.err) == (1, True)


@pytest.mark.parametrize(
    ("typed", "who"),
    [
        (f"{PASSWORD}\nwrong horse battery\n", "'grace' is not proved"),
        (f"wrong horse battery\n{PASSWORD}\n", "'ada' is not proved"),
        (f"{PASSWORD}\n", "standard input ended before a line for: Password of grace"),
        ("", "standard input ended before a line for: Password of ada"),
    ],
)
def test_a_name_without_its_password_is_nobody(retention: Callable[..., Done], typed: str, who: str) -> None:
    """Both people prove themselves, each by a password of their own; otherwise nothing is done or recorded."""
    done = retention("retention", "rule", "--days", "9", "--reason", "x", *TWO, typed=typed)
    assert (done.status, done.out) == (1, "") and who in done.err and PASSWORD not in done.err
    assert retention("retention", "show").out == "bodies are kept for ever\n"


def test_a_user_of_system_serves_every_tenant(retention: Callable[..., Done]) -> None:
    """An operator of tenant `system` may ask, under a name that tells; `system` by itself is nobody here."""
    asked = ("--by", "system/root", "--approved-by", "grace", "--password-stdin")
    assert retention("retention", "rule", "--days", "9", "--reason", "x", *asked).status == 0
    assert retention("retention", "rule", "--reason", "x", *("--by", "acme/ada", *asked[2:])).status == 1
