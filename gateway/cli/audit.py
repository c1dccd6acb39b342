"""`palimpsest audit`: take a tenant's log out of the database, and check such an export."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import os
import sys
from pathlib import Path

import rich_click as click


@click.group()
def audit() -> None:
    """The append-only log: export it, verify it offline."""


@audit.command(
    "export",
    epilog="Example:\n\n  palimpsest audit export --tenant acme --out acme-log\n\n"
    "Hand the printed key to the auditor by another way than the folder.",
)
@click.option("--tenant", required=True, help="Whose log.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A new or empty folder.")
@click.option("--sealed", is_flag=True, help="Disclose no content: integrity can be proven, nothing can be read.")
def export(tenant: str, out: Path, sealed: bool) -> None:
    """Write a tenant's whole log, its signed checkpoints and, unless --sealed, the keys of its bodies."""
    from gateway.bundles import Disclose, export_log
    from gateway.database import open_database
    from gateway.settings import Settings

    settings = Settings.read(os.environ)
    with open_database(settings, lambda line: click.echo(line, err=True)) as urls:
        made = export_log(settings, urls.reader, tenant, out, Disclose.NOTHING if sealed else Disclose.ALL)
    click.echo(f"{made.records} records in {out}")
    click.echo(f"verify with: python -m audit verify {out} --origin {made.origin} --vkey '{made.vkey}'")


@audit.command(
    "verify",
    epilog="Example:\n\n  palimpsest audit verify acme-log --origin palimpsest.local/acme --vkey 'palimpsest.local/acme+...'",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--vkey", required=True, multiple=True, help="The log's verifier key; may be repeated.")
@click.option("--origin", required=True, help="The log's name.")
@click.option("--checkpoint", multiple=True, metavar="FILE", help="A checkpoint of this log that you kept; may be repeated.")
def verify(folder: Path, vkey: tuple[str, ...], origin: str, checkpoint: tuple[str, ...]) -> None:
    """Verify an export; the same as `python -m audit verify`, with the same exit status."""
    from audit.__main__ import main

    keys = (f"--vkey={key}" for key in vkey)
    sys.exit(main(["verify", str(folder), f"--origin={origin}", *keys, *(f"--checkpoint={file}" for file in checkpoint)]))
