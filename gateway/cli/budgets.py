"""`palimpsest budgets`: what of each budget is taken, and what is left."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.table import Column, Table

from gateway.cli.administration import print_table, words
from gateway.cli.failure import CommandFailed
from gateway.cli.identity import office
from gateway.cli.json_file import json_option, require_folder
from gateway.json_file import write_json

if TYPE_CHECKING:
    from gateway.budgets.accounts import Standing


@click.group(epilog="Example:\n\n  palimpsest budgets show --tenant acme")
def budgets() -> None:
    """Budgets: reserved before a request runs, settled by what it consumed."""


@budgets.command("show", epilog="Example:\n\n  palimpsest budgets show --tenant acme --json budgets.json")
@click.option("--tenant", required=True, help="Whose budgets.")
@json_option
def show(tenant: str, json_file: Path | None) -> None:
    """Every budget that somebody draws on: reserved, spent, room, and when the first of what was spent leaves its window."""
    require_folder(json_file)
    found = _standing(tenant)
    amounts = (Column(name, justify="right") for name in ("amount", "reserved", "spent", "room"))
    table = Table("budget", "per", "whose", "unit", "window", *amounts, "ends")
    for each in found:
        # What a workflow is called is a client's word: it is shown, never obeyed.
        table.add_row(*(words(text) for text in _line(each).values()))
    print_table(table)
    write_json(json_file, {"tenant": tenant, "budgets": [_line(each) for each in found]})


def _standing(tenant: str) -> list[Standing]:
    from audit.header import uuid7
    from gateway.budgets.accounts import Accounts, AccountsDown

    with office() as here, closing(Accounts(here.urls.app, uuid7())) as accounts:
        here.require_tenant(tenant)
        try:
            return accounts.standing(tenant)
        except AccountsDown as error:
            raise CommandFailed(str(error)) from error


def _line(each: Standing) -> dict[str, Any]:
    """Amounts are texts, exact to the last digit; `ends` is in UTC."""
    return {
        "budget": each.budget,
        "per": each.per,
        "scope": each.scope,
        "unit": each.unit,
        "window": each.window,
        "amount": f"{each.amount:f}",
        "reserved": f"{each.reserved:f}",
        "spent": f"{each.spent:f}",
        "room": f"{each.room:f}",
        "ends": None if each.ends is None else f"{each.ends:%Y-%m-%d %H:%M:%S}Z",
    }
