"""`palimpsest serve`: database, migrations, gateway; one process, one worker, until SIGTERM or Ctrl-C."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import os

import rich_click as click


@click.command(
    epilog="Examples:\n\n  palimpsest serve\n\n"
    "  PALIMPSEST_BASE_URL=http://gateway.example:8080 palimpsest serve --host 0.0.0.0 --port 8080\n\n"
    "  PALIMPSEST_CHECKPOINT=/models/my-checkpoint palimpsest serve"
)
@click.option("--host", metavar="ADDRESS", help="Listen here instead of PALIMPSEST_HOST (127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen here instead of PALIMPSEST_PORT (8017).")
def serve(host: str | None, port: int | None) -> None:
    """Run the gateway."""
    from dataclasses import replace

    from gateway.app import run
    from gateway.settings import Settings

    settings = Settings.read(os.environ)
    run(replace(settings, host=host or settings.host, port=settings.port if port is None else port))
