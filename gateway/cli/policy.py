"""`palimpsest policy`."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import sys
from pathlib import Path

import rich_click as click


@click.group()
def policy() -> None:
    """The law: closed TOML documents."""


@policy.command("check", epilog="Examples:\n\n  palimpsest policy check acme.toml\n\n  palimpsest policy check")
@click.argument("file", type=click.Path(path_type=Path), required=False)
def check(file: Path | None) -> None:
    """Check FILE (default: the shipped baseline) and print its digest; exit 1 if it cannot be used."""
    import policies

    try:
        found = policies.load(file or policies.BASELINE)
    except policies.PolicyError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    modes = ", ".join(mode.value for mode in found.document.modes.allowed)
    click.echo(f"{found.name}: good\n  digest {bytes(found.digest).hex()}\n  modes  {modes}")
