"""One whole training as a person starts it: progress on the terminal, and for the tiny checkpoint an exam and a card."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from engine.model.checkpoint import load
from engine.request import Mode, Numeric
from engine.train import examination
from engine.train.card import EXAM, LONG_EXAM, PICTURE, TOOL_EXAM, Making, write_card
from engine.train.corpus import Mixture
from engine.train.curves import Curves, NoCurves
from engine.train.evaluate import MODES
from engine.train.examination import Again, Wish
from engine.train.origin import MIXTURES, Scratch
from engine.train.picture import picture
from engine.train.recipe import Stage
from engine.train.saving import write_json
from engine.train.scores import BLOCK_LENGTH, THRESHOLD
from engine.train.tasks import Kind
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
    training.finish()
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
    """Its exams, the picture of the first and the card."""
    out = training.out
    sittings = _sittings(out, MIXTURES[name], exam, console)
    for file, told in sittings.items():
        write_json(out / file, told)
    (out / PICTURE).write_text(picture(sittings[EXAM]["rows"]), encoding="utf-8")
    write_card(out, load(out), Making(training.recipe, name, training.seconds, training.worker), sittings)


def _sittings(out: Path, mixture: Mixture, exam: Exam, console: Console) -> dict[str, dict[str, Any]]:
    """One in every mode, threshold and block length; of what the mixture has, one of tools and one amid long contexts."""
    kinds = tuple(kind for kind, _ in mixture.parts)
    asked = (MODES, exam.thresholds, exam.blocks, kinds, exam.questions)
    wish = Wish(out, *asked, 0, frozenset(Again), Numeric.STRICT, exam.at_once)
    usual = replace(wish, thresholds=(THRESHOLD,), blocks=(BLOCK_LENGTH,), again=frozenset())
    wishes = {EXAM: wish}
    if Kind.TOOL in kinds:  # the exam's own are a fifth of it, too few for a percentage
        wishes[TOOL_EXAM] = replace(usual, modes=(Mode.AR,), kinds=(Kind.TOOL,), again=frozenset({Again.GUIDED}))
    if mixture.long:
        few, context = -(-exam.questions // 5), mixture.limit // 2  # about, so that no question is longer than the limit
        wishes[LONG_EXAM] = replace(usual, count=few, context=context)
    return {file: examination.run(each, console) for file, each in wishes.items()}
