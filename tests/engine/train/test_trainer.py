"""A training follows from its seed alone, says how far it is, and leaves a checkpoint with a card."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from engine.model.checkpoint import digest, load
from engine.train.evaluate import MODES
from engine.train.run import run
from engine.train.trainer import Progress, Recipe, Stage, train

SHORT = Recipe(causal_steps=3, joint_steps=2, batch=2, compiled=False)


def test_a_run_follows_from_its_seed(tmp_path: Path) -> None:
    """The same recipe gives the same weights, byte for byte, and the same losses; another seed gives others."""
    first, again = list(train(SHORT, tmp_path / "a")), list(train(SHORT, tmp_path / "b"))
    other = list(train(Recipe(causal_steps=3, joint_steps=2, batch=2, seed=2, compiled=False), tmp_path / "c"))
    assert losses(first) == losses(again) != losses(other)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")


def losses(steps: list[Progress]) -> list[tuple[float, float]]:
    """What each step measured."""
    return [(step.causal_loss, step.diffusion_loss) for step in steps]


def test_both_stages_report_every_step(tmp_path: Path) -> None:
    """The autoregressive stage comes first, then the joint one; only the joint one has a diffusion loss."""
    steps = list(train(SHORT, tmp_path / "model"))
    assert [(step.stage, step.step, step.steps) for step in steps] == [
        (Stage.CAUSAL, 1, 3), (Stage.CAUSAL, 2, 3), (Stage.CAUSAL, 3, 3), (Stage.JOINT, 1, 2), (Stage.JOINT, 2, 2),
    ]  # fmt: skip
    assert [step.diffusion_loss > 0 for step in steps] == [False] * 3 + [True] * 2
    assert all(step.causal_loss > 0 and step.tokens_per_second > 0 for step in steps)


@pytest.mark.timeout(120)
def test_the_loss_falls(tmp_path: Path) -> None:
    """Forty steps on small batches already halve the loss of a model that knows nothing."""
    steps = list(train(Recipe(causal_steps=40, joint_steps=1, batch=8, compiled=False), tmp_path / "model"))
    assert steps[39].causal_loss < steps[0].causal_loss / 2


def test_a_whole_run_ends_with_an_exam_and_a_card(tmp_path: Path) -> None:
    """`palimpsest train` leaves a checkpoint that loads and a card with its digest, and prints every mode's score."""
    printed = io.StringIO()
    run(SHORT, tmp_path / "model", 1, Console(file=printed, width=120))
    card = (tmp_path / "model" / "README.md").read_text()
    assert load(tmp_path / "model").weights_digest in card
    assert "--causal-steps 3 --joint-steps 2 --batch 2 --seed 1" in card
    assert all(f"{mode} " in printed.getvalue() for mode in MODES)
