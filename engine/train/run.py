"""One whole training as a person starts it: progress on the terminal, and for the tiny checkpoint an exam and a card."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from engine.model.checkpoint import load
from engine.model.tensors import write_json
from engine.request import Numeric
from engine.train import examination
from engine.train.card import EXAM, LONG_EXAM, PICTURE, Making, write_card
from engine.train.curves import Curves, NoCurves
from engine.train.evaluate import MODES
from engine.train.examination import Again, Wish
from engine.train.origin import MIXTURES, Scratch
from engine.train.picture import picture
from engine.train.recipe import Stage
from engine.train.scores import BLOCK_LENGTH, THRESHOLD
from engine.train.trainer import Training


@dataclass(frozen=True, slots=True)
class Exam:
    """How many questions are asked, how many `at_once`, and over what accuracy and tokens per forward are drawn."""

    questions: int = 60
    thresholds: tuple[float, ...] = (0.5, 0.7, 0.8, THRESHOLD, 0.95)
    blocks: tuple[int, ...] = (8, BLOCK_LENGTH, 32)
    at_once: int = 32


def run(training: Training, exam: Exam, console: Console, curves: Curves | None = None) -> None:
    """Train to the end; what began from scratch is then examined in each mode, for its card."""
    console.print(f"{training.recipe.options()}\nif this is cut short: palimpsest train --resume {training.out}")
    with curves or NoCurves() as open_curves:
        _train(training, console, open_curves)
    if isinstance(training.origin, Scratch):
        _examine(training, training.origin.mixture, exam, console)
    console.print(f"wrote {training.out}")


def _train(training: Training, console: Console, curves: Curves) -> None:
    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    recipe = training.recipe
    with Progress(*columns, console=console) as bars:
        bar = {
            stage: bars.add_task(stage.value, total=recipe.steps(stage), figures="", start=False)
            for stage in Stage
            if recipe.steps(stage)
        }
        for progress in training.steps():
            bars.start_task(bar[progress.stage])
            figures = " ".join(f"{name} {value:.3f}" for name, value in progress.figures.items())
            figures += f" {progress.tokens_per_second:,.0f} tok/s"
            bars.update(bar[progress.stage], completed=progress.step, figures=figures)
            curves.add(progress, recipe.first(progress.stage) + progress.step)


def _examine(training: Training, name: str, exam: Exam, console: Console) -> None:
    """The exam in every mode, threshold and block length, a shorter one amid long contexts if it saw any, and the card."""
    out, mixture = training.out, MIXTURES[name]
    kinds = tuple(kind for kind, _ in mixture.parts)
    asked = (MODES, exam.thresholds, exam.blocks, kinds, exam.questions)
    wish = Wish(out, *asked, 0, frozenset(Again), Numeric.STRICT, exam.at_once)
    sittings = {EXAM: examination.run(wish, console)}
    if mixture.long:
        few, context = -(-exam.questions // 5), mixture.limit // 2  # about, so that no question is longer than the limit
        usual = replace(wish, thresholds=(THRESHOLD,), blocks=(BLOCK_LENGTH,), again=frozenset())
        sittings[LONG_EXAM] = examination.run(replace(usual, count=few, context=context), console)
    for file, told in sittings.items():
        write_json(out / file, told)
    (out / PICTURE).write_text(picture(sittings[EXAM]["rows"]), encoding="utf-8")
    write_card(out, load(out), Making(training.recipe, name, training.seconds, training.worker), sittings)
