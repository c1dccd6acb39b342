"""`palimpsest demo`."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import os
import sys
from pathlib import Path

import rich_click as click

from gateway.cli.failure import CommandFailed
from gateway.cli.json_file import json_option, require_folder


@click.command(
    epilog="Examples:\n\n  palimpsest demo\n\n  palimpsest demo --json demo.json\n\n"
    "Exit status: 0 if every answer arrived, the modes agreed as promised and the log verified; 1 otherwise."
)
@json_option
@click.option("--questions", default=8, type=click.IntRange(1, 100), show_default=True, help="Questions per mode.")
def demo(json_file: Path | None, questions: int) -> None:
    """Ask the same coding questions in every mode over HTTP, then prove the log offline."""
    from gateway.settings import Settings

    require_folder(json_file)
    try:
        from gateway.demo import run
    except ModuleNotFoundError as error:
        raise CommandFailed(f"the demo needs {error.name}: pip install 'palimpsest[demo,embedded]'") from error

    sys.exit(run(Settings.read(os.environ), questions, json_file))
