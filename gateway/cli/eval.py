"""`palimpsest eval`: what a checkpoint can do, by kind of question, and what each way of decoding costs it."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them, and the threads are counted before torch is there

from __future__ import annotations

import os
from pathlib import Path

import rich_click as click

from gateway.cli.bench import ROWS, checkpoint_option, count_threads, numeric_option, threads_option
from gateway.cli.failure import CommandFailed
from gateway.cli.json_file import json_option, require_folder
from gateway.cli.number import Number
from gateway.json_file import write_json

MODES = ROWS[:4]
KINDS = ("function", "tool", "turns", "edit", "json")


@click.command(
    name="eval",
    epilog="Examples:\n\n  palimpsest eval\n\n  palimpsest eval --count 60 --kind tool --kind json --grammar\n\n"
    "  palimpsest eval --mode diffusion --threshold 0.7 --threshold 0.9 --block 16 --plot tradeoff.svg\n\n"
    "  palimpsest eval --checkpoint var/tiny --context 2000 --count 40",
)
@checkpoint_option
@click.option("--mode", "modes", multiple=True, type=click.Choice(MODES), help="Only these modes. Default: all.")
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    default=(0.9,),
    type=Number(0, 1),
    show_default=True,
    help="Commit confidence of diffusion; may be given several times.",
)
@click.option(
    "--block",
    "blocks",
    multiple=True,
    default=(16,),
    type=click.IntRange(1, 32),
    show_default=True,
    help="Block length; may be given several times; quadratic: at most 8.",
)
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only these kinds. Default: all, in turn.")
@click.option("--count", default=500, type=click.IntRange(1, 100_000), show_default=True, help="Held-out questions in all.")
@click.option(
    "--context",
    default=0,
    type=click.IntRange(0, 1 << 16),
    show_default=True,
    help="About how many tokens of tool lists, system prompts and earlier turns stand around each question.",
)
@click.option(
    "--grammar", is_flag=True, help="Ask calls and JSON a second time, held to their form by the engine's constraint."
)
@click.option("--bare", is_flag=True, help="Ask the speculative modes a second time without the drafter LoRA.")
@click.option("--sampled", is_flag=True, help="Ask all but diffusion at temperature 1 too, with that LoRA and without.")
@click.option(
    "--at-once",
    default=1,
    type=click.IntRange(1, 1024),
    show_default=True,
    help="Answers under way at once; tokens/s is of all together.",
)
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw accuracy against tokens per forward (SVG).")
@numeric_option
@threads_option
@json_option
def evaluate(
    checkpoint: Path | None,
    modes: tuple[str, ...],
    thresholds: tuple[float, ...],
    blocks: tuple[int, ...],
    kinds: tuple[str, ...],
    count: int,
    context: int,
    grammar: bool,
    bare: bool,
    sampled: bool,
    at_once: int,
    plot: Path | None,
    numeric: str,
    threads: int,
    json_file: Path | None,
) -> None:
    """Ask held-out questions of five kinds in every mode, run and check the answers, and print how many were right.

    Questions are asked at temperature 0 unless said otherwise. Code is executed against hidden cases in a locked process;
    calls and JSON are read, validated by their schema and compared. `usable` counts answers in the right form, right or wrong.
    The questions are narrow: they are drawn from the grammar that the tiny checkpoint was trained on, never from its
    training share.
    """
    require_folder(json_file)
    require_folder(plot, "--plot")
    count_threads(threads)

    from rich.console import Console

    from engine.errors import EngineError
    from engine.request import Mode, Numeric
    from engine.train.examination import Again, Wish, run
    from engine.train.picture import picture
    from engine.train.tasks import Kind
    from gateway.settings import Settings

    wish = Wish(
        checkpoint=checkpoint or Settings.read(os.environ).checkpoint,
        modes=[Mode(mode) for mode in modes or MODES],
        thresholds=thresholds,
        blocks=blocks,
        kinds=[Kind(kind) for kind in kinds or KINDS],
        count=count,
        context=context,
        again=frozenset([Again.GUIDED] * grammar + [Again.BARE] * bare + [Again.SAMPLED] * sampled),
        numeric=Numeric(numeric),
        at_once=at_once,
    )
    try:
        result = run(wish, Console())
    except EngineError as error:
        raise CommandFailed(str(error)) from error
    write_json(json_file, result)
    if plot is not None:
        plot.write_text(picture(result["rows"]), encoding="utf-8")
