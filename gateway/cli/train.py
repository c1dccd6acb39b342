"""`palimpsest train`: the joint trainer of the tiny checkpoint."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

from pathlib import Path

import rich_click as click


@click.command(
    epilog="Examples:\n\n  palimpsest train\n\n"
    "  palimpsest train --out var/quick --causal-steps 50 --joint-steps 150 --questions 4\n\n"
    "  PALIMPSEST_CHECKPOINT=var/tiny palimpsest serve"
)
@click.option(
    "--out",
    default=Path("var/tiny"),
    type=click.Path(path_type=Path, file_okay=False),
    show_default=True,
    help="A new or empty folder for the checkpoint.",
)
@click.option("--causal-steps", default=500, type=click.IntRange(1), show_default=True, help="Steps of the first stage.")
@click.option("--joint-steps", default=1500, type=click.IntRange(1), show_default=True, help="Steps of the joint stage.")
@click.option("--batch", default=48, type=click.IntRange(1), show_default=True, help="Conversations per step.")
@click.option("--seed", default=1, type=click.IntRange(0, 2**31), show_default=True, help="Decides data, masks and weights.")
@click.option("--questions", default=60, type=click.IntRange(1, 10_000), show_default=True, help="Size of the final exam.")
def train(out: Path, causal_steps: int, joint_steps: int, batch: int, seed: int, questions: int) -> None:
    """Train the tiny checkpoint from scratch, examine it on held-out questions and write its card.

    The defaults made the checkpoint that ships in engine/tiny (three quarters of an hour on two cores). The data is made on
    the way and depends on the seed alone.
    """
    from rich.console import Console

    from engine.train.run import run
    from engine.train.trainer import Recipe

    if out.exists() and any(out.iterdir()):
        raise click.BadParameter(
            f"{out} is not empty: name a new folder, a checkpoint is never overwritten", param_hint="--out"
        )
    recipe = Recipe(causal_steps=causal_steps, joint_steps=joint_steps, batch=batch, seed=seed)
    run(recipe, out, questions, Console())
