"""`palimpsest train`: the joint trainer of the tiny checkpoint; its options are its own."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import rich_click as click


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def train(arguments: tuple[str, ...]) -> None:
    """Train a tiny checkpoint from scratch ([bold]palimpsest train --help[/] lists the options)."""
    from importlib import import_module

    raise SystemExit(import_module("engine.train.run").main(list(arguments)))
