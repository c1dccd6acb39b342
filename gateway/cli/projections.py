"""`palimpsest projections`: the tables that pages search, how far they are, and making them again from the logs."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from gateway.cli.administration import print_table
from gateway.cli.failure import CommandFailed
from gateway.cli.json_file import json_option, require_folder
from gateway.json_file import write_json

if TYPE_CHECKING:
    from gateway.database import Urls
    from gateway.projections.projector import Projector, Standing
    from gateway.settings import Settings


@click.group(epilog="Examples:\n\n  palimpsest projections status\n\n  palimpsest projections rebuild --tenant acme")
def projections() -> None:
    """What the logs say, in tables that can be searched. Never evidence; lost or wrong, they are made again."""


@projections.command("status", epilog="Example:\n\n  palimpsest projections status --json status.json")
@json_option
def status(json_file: Path | None) -> None:
    """How many records of each log are in the tables, and how many are not yet."""
    require_folder(json_file)
    with _projector() as (_, _, projector):
        found = projector.status()
    table = Table("tenant", *(Column(name, justify="right") for name in ("records", "followed", "behind")))
    for each in found:
        table.add_row(each.tenant, str(each.size), str(each.followed), str(each.size - each.followed))
    print_table(table)
    logs = [{"tenant": each.tenant, "records": each.size, "followed": each.followed} for each in found]
    write_json(json_file, {"logs": logs})


@projections.command("rebuild", epilog="Example:\n\n  palimpsest projections rebuild --tenant acme")
@click.option("--tenant", "tenants", multiple=True, help="Whose log; may be repeated. Default: everybody's.")
def rebuild(tenants: tuple[str, ...]) -> None:
    """Make the tables again from the logs, also beside a gateway that runs: until it is done they tell less.

    What people did at the queue (priority, assignment, locks) is not in a log and stays.
    """
    from gateway.on_record import require_keys

    bar = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn("records"),
        TimeRemainingColumn(), console=Console(stderr=True),
    )  # fmt: skip
    with _projector() as (settings, urls, projector), bar:
        named = _named(projector, tenants)
        for tenant in named:  # before anything is removed: what other keys cannot read would be told as erased
            require_keys(settings, urls, tenant)
        for tenant in named:
            task = bar.add_task(tenant, total=None)
            projector.rebuild(tenant, partial(_told, bar, task))


def _told(bar: Progress, task: TaskID, at: Standing) -> None:
    bar.update(task, completed=at.followed, total=at.size)


def _named(projector: Projector, tenants: tuple[str, ...]) -> list[str]:
    known = projector.tenants()
    for tenant in tenants:
        if tenant not in known:
            raise CommandFailed(f"there is no tenant {tenant!r}: see `palimpsest tenants list`")
    return list(tenants) or known


@contextmanager
def _projector() -> Iterator[tuple[Settings, Urls, Projector]]:
    import policies
    from audit.keys import KeyStore
    from gateway.database import open_database
    from gateway.projections.projector import Projector
    from gateway.settings import Settings

    settings = Settings.read(os.environ)
    shipped = policies.load(policies.BASELINE)
    database = open_database(settings, lambda line: click.echo(line, err=True))
    with database as urls, closing(Projector(urls, KeyStore(settings.keys), shipped)) as projector:
        yield settings, urls, projector
