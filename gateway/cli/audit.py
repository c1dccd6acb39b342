"""`palimpsest audit`: take a tenant's log out of the database, and check such an export."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from gateway.account import account

if TYPE_CHECKING:
    from uuid import UUID

    from audit.note import Scheme
    from gateway.bundles import Made

FORMATS = ("jsonl", "parquet", "csv", "prov", "in-toto", "ocsf", "cef", "html")


@click.group()
def audit() -> None:
    """The append-only log: export it, verify it offline."""


@audit.command(
    "export",
    epilog="Examples:\n\n  palimpsest audit export --tenant acme --out acme-log\n\n"
    "  palimpsest audit export --tenant acme --out acme-log --format html --format in-toto\n\n"
    "  palimpsest audit export --tenant acme --out acme-siem --sealed --format ocsf\n\n"
    "An export always holds the whole log from its first record: the proof of a part could not be checked. "
    "Hand the printed key to the auditor by another way than the folder.",
)
@click.option("--tenant", required=True, help="Whose log.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A new or empty folder.")
@click.option("--sealed", is_flag=True, help="Disclose no content: integrity can be proven, nothing can be read.")
@click.option(
    "--request",
    "requests",
    multiple=True,
    type=click.UUID,
    help="Disclose this request alone, and the acts that concern it: erasures, holds, exports. May be repeated.",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(FORMATS),
    help="A further form, may be repeated. The evidence is always there, as jsonl. html, in-toto and prov: a file for each "
    "disclosed generation. parquet needs the extra `export`. ocsf and cef: no content, for security monitors.",
)
@click.option("--reason", default="not given", show_default=True, help="Why; it is recorded.")
@click.option("--by", default=account, metavar="PERSON", help="Who exports; recorded. Default: the account that runs this.")
def export(
    tenant: str, out: Path, sealed: bool, requests: tuple[UUID, ...], formats: tuple[str, ...], reason: str, by: str
) -> None:
    """Write a tenant's whole log, its signed checkpoints and the keys of its bodies: all, those of --request, or none.

    That it was exported is on record in that log before the first byte is written.
    """
    from audit.acts import Export
    from audit.export import Format, claim
    from audit.note import Scheme
    from gateway.bundles import Disclose, export_log, require_log
    from gateway.database import open_database
    from gateway.on_record import put_on_record
    from gateway.settings import Settings

    settings, wanted = Settings.read(os.environ), frozenset(map(Format, formats))
    if sealed and requests:
        raise click.UsageError("--sealed discloses nothing and --request something: choose")
    disclose = frozenset(requests) or (Disclose.NOTHING if sealed else Disclose.ALL)
    with open_database(settings, lambda line: click.echo(line, err=True)) as urls, _progress() as watch:
        size = require_log(urls.reader, tenant, frozenset(requests))
        claim(out)
        shown = "requests" if requests else "nothing" if sealed else "all"
        act = Export(",".join(sorted({"jsonl", *formats})), size, shown, len(set(requests)), reason, by)
        place = put_on_record(settings, urls, tenant, act)
        made = export_log(settings, urls.reader, tenant, out, disclose, wanted, watch)
    click.echo(f"{made.records} records in {out}" + (f", and {made.derived} derived files" if made.derived else ""))
    if place != tenant:
        click.echo(f"warning: the log of {tenant!r} takes no records, so this export is on record in {place!r}", err=True)
    if made.contradicted is not None:
        click.echo(
            f"warning: the records contradict the checkpoint of {made.contradicted} records; verify this export", err=True
        )
    click.echo(f"verify with: python -m audit verify {out} --origin {made.origin} {_given(made, Scheme.ED25519)}")
    click.echo(f"and, for what no quantum computer forges: --require ml-dsa-44 {_given(made, Scheme.ML_DSA_44)}")


def _given(made: Made, scheme: Scheme) -> str:
    """The options that name every key of one scheme that has signed this log."""
    from audit.note import decode_vkey

    return " ".join(f"--vkey '{vkey}'" for vkey in (*made.vkeys, *made.former) if decode_vkey(vkey).scheme is scheme)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, for as long as records are written; nothing where no person looks on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("records"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("records", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


@audit.command(
    "verify",
    epilog="Example:\n\n  palimpsest audit verify acme-log --origin palimpsest.local/acme --vkey 'palimpsest.local/acme+...'",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--vkey", required=True, multiple=True, help="The log's verifier key; may be repeated.")
@click.option("--origin", required=True, help="The log's name.")
@click.option("--checkpoint", multiple=True, metavar="FILE", help="A checkpoint of this log that you kept; may be repeated.")
@click.option("--require", multiple=True, help="ed25519 or ml-dsa-44: a signature that the newest checkpoint must bear.")
def verify(folder: Path, vkey: tuple[str, ...], origin: str, checkpoint: tuple[str, ...], require: tuple[str, ...]) -> None:
    """Verify an export; the same as `python -m audit verify`, with the same exit status."""
    from audit.__main__ import main

    given = {"vkey": vkey, "checkpoint": checkpoint, "require": require}
    options = (f"--{name}={value}" for name, values in given.items() for value in values)
    sys.exit(main(["verify", str(folder), f"--origin={origin}", *options]))
