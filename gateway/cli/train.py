"""`palimpsest train`: the joint trainer, from scratch or from a checkpoint and a person's own chats."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click import get_current_context
from click.core import ParameterSource

from gateway.cli.bench import checkpoint_folder
from gateway.cli.failure import CommandFailed
from gateway.cli.number import Number

if TYPE_CHECKING:
    from engine.train.recipe import Recipe
    from engine.train.trainer import Training

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_EXISTING = click.Path(path_type=Path, file_okay=False, exists=True)
_STEPS = click.IntRange(0, 10_000_000)
_OVER_THE_RECIPE = (
    "causal_steps",
    "joint_steps",
    "settle_steps",
    "drafter_steps",
    "batch",
    "places",
    "recompute",
    "save_every",
    "seed",
)
_OF_ANY_PROCESS = ("resume", "device", "tensorboard", "questions")
"""What may be said of the rest of a training."""


@click.command(
    epilog="Examples:\n\n  palimpsest train\n\n"
    "  palimpsest train --out var/quick --minutes 5 --questions 4\n\n"
    "  palimpsest train --from models/8B --data chats.jsonl --lora --out var/mine\n\n"
    "  palimpsest train --resume var/mine\n\n"
    "  PALIMPSEST_CHECKPOINT=var/mine palimpsest serve"
)
@click.option("--out", default=Path("var/tiny"), type=_FOLDER, show_default=True, help="A new or empty folder for the result.")
@click.option("--resume", type=_EXISTING, help="Go on with an interrupted training in this folder, with its own options.")
@click.option(
    "--from",
    "source",
    type=_EXISTING,
    callback=checkpoint_folder,
    help="A checkpoint to fine-tune; without it training starts from scratch.",
)
@click.option("--data", type=_FILE, help='With --from: chats, one {"messages": [...], "tools": [...]} a line.')
@click.option("--lora", is_flag=True, help="With --from: train low-rank adapters and merge them, instead of every weight.")
@click.option("--rank", default=16, type=click.IntRange(1, 1024), show_default=True, help="With --lora: its rank.")
@click.option("--context", default=4096, type=click.IntRange(16), show_default=True, help="With --from: longest chat, tokens.")
@click.option("--mixture", default="functions", type=click.Choice(["functions", "whole"]), show_default=True,
              help="From scratch: the exercises.")  # fmt: skip
@click.option("--causal-steps", type=_STEPS, help="Steps of the first stage. (500; with --from 0)")
@click.option("--joint-steps", type=_STEPS, help="Steps of the joint stage. (1500; with --from 200)")
@click.option("--settle-steps", type=_STEPS, help="Joint steps more, amid denoising, for answers by diffusion. (0)")
@click.option("--drafter-steps", type=_STEPS, help="Steps of the drafter LoRA alone. (0)")
@click.option(
    "--minutes", type=Number(0.1, 1_000_000), help="Scale all steps to fill this time, as a first measurement has it."
)
@click.option("--batch", type=click.IntRange(1), help="Conversations per step. (48; with --from 16)")
@click.option("--rate", type=Number(0, 1, min_open=True), help="Peak learning rate of the first two stages.")
@click.option("--weighing", type=click.Choice(["balanced", "family"]),
              help="Mean of both losses, or 0.3 and a global token average. (balanced; with --from family)")  # fmt: skip
@click.option("--scope", type=click.Choice(["answers", "rows"]),
              help="Next tokens that are learnt: rows teach copying from prompts much sooner. (answers)")  # fmt: skip
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]),
              help="Of products; weights stay float32. (bfloat16 where the machine multiplies it)")  # fmt: skip
@click.option("--places", default=6144, type=click.IntRange(64), show_default=True, help="Most tokens of a pass.")
@click.option("--recompute", is_flag=True, help="Compute activations twice to save memory.")
@click.option("--save-every", default=250, type=click.IntRange(1), show_default=True, help="Steps between snapshots.")
@click.option("--seed", default=1, type=click.IntRange(0, 2**31), show_default=True, help="Decides data, noise and weights.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option("--tensorboard", type=_FOLDER, help="Write curves here (needs the extra `train`).")
@click.option("--questions", default=60, type=click.IntRange(1, 10_000), show_default=True, help="From scratch: exam size.")
def train(out: Path, resume: Path | None, device: str, tensorboard: Path | None, questions: int, **given: Any) -> None:
    """Train from scratch, or fine-tune a checkpoint of the family on your own chats.

    From scratch it makes a tiny checkpoint, examines it on held-out questions and writes its card. A run is decided
    by its seed, writes a snapshot every few steps, and goes on from it with --resume.
    """
    from rich.console import Console

    from engine.errors import EngineError
    from engine.train.chats import DataError
    from engine.train.curves import TensorBoard
    from engine.train.memory import in_large_pages
    from engine.train.run import Exam, run
    from engine.train.trainer import Training, TrainingError, device_named

    if resume:
        _require_no_others()
    in_large_pages()
    try:
        chosen = device_named(device)
        curves = TensorBoard(tensorboard) if tensorboard else None  # before anything is written that a second try would meet
        training = Training.resume(resume, chosen) if resume else _begun(out, chosen, given)
        run(training, Exam(questions), Console(), curves)
    except (DataError, EngineError, TrainingError) as error:
        raise CommandFailed(str(error)) from error


def _require_no_others() -> None:
    """Raises UsageError for options that a training which goes on would not follow."""
    context = get_current_context()
    own = [each for each in context.command.params if each.name and each.name not in _OF_ANY_PROCESS]
    typed = [each.opts[0] for each in own if context.get_parameter_source(str(each.name)) is ParameterSource.COMMANDLINE]
    if typed:
        raise click.UsageError(f"--resume goes on with the options that the training began with: leave out {', '.join(typed)}")


def _begun(out: Path, device: Any, given: dict[str, Any]) -> Training:
    """A new training in `out`."""
    from engine.train.origin import Given, Scratch
    from engine.train.trainer import Training

    source, data = given["source"], given["data"]
    if (source is None) is not (data is None) or (given["lora"] and source is None):
        raise click.UsageError("--from and --data go together, and --lora with both")
    if out.exists() and any(out.iterdir()):
        raise click.BadParameter(
            f"{out} is not empty: name a new folder, a checkpoint is never overwritten", param_hint="--out"
        )
    rank = given["rank"] if given["lora"] else None
    origin = Given.of(source, data, given["context"], rank) if source else Scratch(given["mixture"])
    training = Training(_recipe(given, device), out, origin, device)
    if given["minutes"] is not None:
        training.fit(given["minutes"])
    return training


def _recipe(given: dict[str, Any], device: Any) -> Recipe:
    """The options that were given over the defaults of what is done."""
    from dataclasses import replace

    from engine.train.batches import Scope
    from engine.train.objective import Weighing
    from engine.train.recipe import ADAPTER_RATE, WHOLE_RATE, Precision, Recipe

    base = Recipe()
    if given["source"]:
        base = Recipe.fine_tune(ADAPTER_RATE if given["lora"] else WHOLE_RATE)
    wanted: dict[str, Any] = {name: given[name] for name in _OVER_THE_RECIPE if given[name] is not None}
    if given["rate"] is not None:
        wanted |= {"peak_rate": given["rate"], "joint_rate": given["rate"]}
    if given["weighing"] is not None:
        wanted["weighing"] = Weighing(given["weighing"])
    if given["scope"] is not None:
        wanted["scope"] = Scope(given["scope"])
    chosen = given["precision"]
    return replace(base, **wanted, precision=Precision(chosen) if chosen else Precision.of_machine(device))
