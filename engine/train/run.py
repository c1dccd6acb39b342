"""One whole training as a person starts it: progress on the terminal, an exam at the end, a card beside the weights."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from engine.model.checkpoint import load
from engine.train.evaluate import Score, exam, score, write_card
from engine.train.trainer import Recipe, Stage, train


def run(recipe: Recipe, out: Path, questions: int, console: Console) -> None:
    """Train into `out`, ask the result `questions` held-out questions in each mode, and write the card."""
    _train(recipe, out, console)
    model = load(out)
    console.print(f"asking {questions} held-out questions in each mode ...")
    scores = []
    for each in score(model, exam(questions)):
        scores.append(each)
        console.print(
            f"  {each.mode:<15} {each.correct}/{each.questions} correct, {each.tokens_per_forward:.2f} tokens/forward"
        )
    write_card(out, model, recipe, scores)
    console.print(_table(scores))
    console.print(f"wrote {out}")


def _train(recipe: Recipe, out: Path, console: Console) -> None:
    columns = (
        TextColumn("{task.description:<6}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        lengths = {Stage.CAUSAL: recipe.causal_steps, Stage.JOINT: recipe.joint_steps}
        bar = {stage: bars.add_task(stage.value, total=steps, figures="", start=False) for stage, steps in lengths.items()}
        for progress in train(recipe, out):
            task = bar[progress.stage]
            if progress.step == 1:
                bars.start_task(task)
            figures = (
                f"ar {progress.causal_loss:.3f} diff {progress.diffusion_loss:.3f} {progress.tokens_per_second:,.0f} tok/s"
            )
            bars.update(task, completed=progress.step, figures=figures)


def _table(scores: list[Score]) -> Table:
    made = Table("mode", "correct", "exact", "same as ar", "tokens/forward", title="held-out exam")
    for each in scores:
        counts = (each.correct, each.exact, each.same_as_ar)
        made.add_row(each.mode, *(f"{count}/{each.questions}" for count in counts), f"{each.tokens_per_forward:.2f}")
    return made
