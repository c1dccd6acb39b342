"""`palimpsest retention`: what a person can do about content, beside a real database."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.errors import KeyUnavailable
from audit.keys import KeyStore
from gateway.settings import Settings
from tests.gateway.commanding import Done, command_line
from tests.postgres_fixtures import Database

TWO = ("--by", "ada", "--approved-by", "grace")


@pytest.fixture
def retention(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Done]:
    """Runs `palimpsest` for tenant acme of a database that somebody else runs; the first word may be another group."""
    command = command_line(monkeypatch, capsys, tmp_path / "home", database)
    assert command("tenants", "create", "acme").status == 0
    return lambda *arguments, tenant="acme": command(*arguments, "--tenant", tenant)


def test_rules_and_holds_are_recorded_and_shown(retention: Callable[..., Done]) -> None:
    """A rule, a hold and its release each print their record, and `show` tells what stands."""
    assert retention("retention", "show").out == "bodies are kept for ever\n"
    made = retention("retention", "rule", "--days", "184", "--reason", "six months", *TWO)
    assert (made.status, made.out) == (0, "record 0: bodies are kept for 184 days\n")
    assert retention("retention", "retire", "--by", "cron").out == "nothing is old enough\n"
    placed = retention("retention", "hold", "--reason", "case 7", "--by", "ada").out
    (hold,) = re.findall(r"^record 1: hold ([0-9a-f-]{36})$", placed, re.MULTILINE)
    shown = retention("retention", "show").out
    assert "for 184 days (record 0)" in shown
    assert f"hold {hold} on the whole tenant (record 1): case 7" in shown
    assert retention("retention", "release", hold, "--reason", "closed", *TWO).out == f"record 2: hold {hold} is released\n"
    assert hold not in retention("retention", "show").out


def test_an_erasure_destroys_keys_and_is_shown(retention: Callable[..., Done]) -> None:
    """`erase` names its record and how many keys are gone, and `show` remembers it."""
    keys = KeyStore(Settings.read(os.environ).keys)
    month = keys.month_key("acme", "key-1", 1_795_000_000_000_000)
    done = retention("retention", "erase", "--subject", "key-1", "--reason", "request 17", *TWO)
    assert (done.status, done.out) == (0, "record 0: 1 key destroyed\n")
    with pytest.raises(KeyUnavailable):
        keys.find(month.key_id)
    assert "record 0 erased 1 key" in retention("retention", "show").out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("erase", "--subject", "key-1", "--reason", "x", *TWO), "nothing to erase"),
        (("erase", "--subject", "key-1", "--reason", "x", "--by", "ada", "--approved-by", "Ada"), "second person"),
        (("rule", "--days", "9", "--reason", "x", "--by", "ada", "--approved-by", "ada"), "second person"),
        (("rule", "--days", "9", "--reason", " ", *TWO), "trimmed text"),
        (("release", "01936f5e-0000-7000-8000-000000000001", "--reason", "x", *TWO), "does not stand"),
        (("retire", "--by", "cron"), "for ever"),
    ],
)
def test_what_is_refused_is_one_line(retention: Callable[..., Done], arguments: tuple[str, ...], why: str) -> None:
    """An act that may not be done ends with status 1, says why in one line, and records nothing."""
    done = retention("retention", *arguments)
    assert (done.status, done.out) == (1, "")
    assert why in done.err and done.err.count("\n") == 1
    assert retention("retention", "hold", "--reason", "x", "--by", "ada").out.startswith("record 0: ")


def test_an_unknown_tenant_is_named(retention: Callable[..., Done]) -> None:
    """Acts need a tenant that exists: a slip of the pen makes no log."""
    done = retention("retention", "show", tenant="acne")
    assert (done.status, "no tenant 'acne'" in done.err) == (1, True)
