"""One whole training as a person starts it: progress on the terminal, and for the tiny checkpoint an exam and a card."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from engine.model.checkpoint import load
from engine.train.card import write_card
from engine.train.curves import Curves, NoCurves
from engine.train.evaluate import exam, score
from engine.train.origin import Scratch
from engine.train.recipe import Recipe, Stage
from engine.train.scores import Score
from engine.train.trainer import Training


def run(training: Training, questions: int, console: Console, curves: Curves | None = None) -> None:
    """Train to the end; what began from scratch is then asked `questions` held-out questions in each mode, for its card."""
    console.print(f"{_plan(training.recipe)}\nif this is cut short: palimpsest train --resume {training.out}")
    with curves or NoCurves() as open_curves:
        _train(training, console, open_curves)
    if isinstance(training.origin, Scratch):
        _examine(training, questions, console)
    console.print(f"wrote {training.out}")


def _plan(recipe: Recipe) -> str:
    """What will be done, as the options that would ask for it again."""
    steps = " ".join(f"--{stage.name.lower()}-steps {recipe.steps(stage)}" for stage in Stage)
    return f"{steps} --batch {recipe.batch} --seed {recipe.seed} --precision {recipe.precision}"


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


def _examine(training: Training, questions: int, console: Console) -> None:
    model = load(training.out)
    console.print(f"asking {questions} held-out questions in each mode ...")
    scores = []
    for each in score(model, exam(questions)):
        scores.append(each)
        console.print(
            f"  {each.mode:<15} {each.correct}/{each.questions} correct, {each.tokens_per_forward:.2f} tokens/forward"
        )
    write_card(training.out, model, training.recipe, scores)
    console.print(_table(scores))


def _table(scores: list[Score]) -> Table:
    made = Table("mode", "correct", "exact", "same as ar", "tokens/forward", title="held-out exam")
    for each in scores:
        counts = (each.correct, each.exact, each.same_as_ar)
        made.add_row(each.mode, *(f"{count}/{each.questions}" for count in counts), f"{each.tokens_per_forward:.2f}")
    return made
