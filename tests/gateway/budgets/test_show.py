"""`palimpsest budgets show` says how the accounts of a tenant stand."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.cli import main
from policies import Per, Unit, Window
from tests.gateway.budgets.drawing import Teller, ask, budget, used
from tests.gateway.planted import plant_tenant


def shown(bank: Teller, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The status of the command over this database."""
    monkeypatch.setenv("PALIMPSEST_DATABASE_URL", bank.database.app_url)
    monkeypatch.setenv("PALIMPSEST_READER_URL", bank.database.reader_url)
    monkeypatch.setattr("sys.argv", ["palimpsest", "budgets", "show", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_accounts_of_a_tenant(
    bank: Teller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Each account is one line, and one entry of the JSON, with exact amounts; another tenant's are not shown."""
    money, request = budget(Unit.MONEY, "10", per=Per.WORKFLOW, window=Window.MONTH), uuid4()
    bank.reserve(ask(money, "3.5", scope="[red]nightly"), ask(budget(Unit.CONCURRENCY, "2")), request=request)
    bank.accounts.settle(request, used(money="0.000000000000001"))
    bank.reserve(ask(money, "3.5", scope="[red]nightly"))
    for tenant in ("acme", "other"):
        plant_tenant(bank.database.app_url, tenant)
    file = tmp_path / "budgets.json"
    assert shown(bank, monkeypatch, "--tenant", "acme", "--json", str(file)) == 0
    out = capsys.readouterr().out
    assert "[red]nightly" in out and "6.499999999999999" in out
    told = json.loads(file.read_text())
    assert told["tenant"] == "acme"
    opened, spent = told["budgets"]
    assert (opened["budget"], opened["window"], opened["room"], opened["ends"]) == ("concurrency", None, "2", None)
    assert {name: spent[name] for name in ("per", "scope", "amount", "reserved", "spent", "room")} == {
        "per": "workflow", "scope": "[red]nightly", "amount": "10", "reserved": "3.5",
        "spent": "0.000000000000001", "room": "6.499999999999999",
    }  # fmt: skip
    assert spent["ends"].endswith("-01 00:00:00Z")
    assert shown(bank, monkeypatch, "--tenant", "other") == 0
    assert "nightly" not in capsys.readouterr().out


def test_no_word_of_a_client_acts_on_the_terminal(
    bank: Teller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A workflow whose name would erase lines is spelled out, on one line."""
    bank.reserve(ask(budget(Unit.MONEY, "10", per=Per.WORKFLOW, window=Window.MONTH), "1", scope="a\x1b[2Kb\nc\u202e"))
    plant_tenant(bank.database.app_url, "acme")
    assert shown(bank, monkeypatch, "--tenant", "acme") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\u202e" not in out and "U+001B" in out and "U+202E" in out
    assert len([line for line in out.splitlines() if "[2Kb" in line and "c" in line]) == 1
