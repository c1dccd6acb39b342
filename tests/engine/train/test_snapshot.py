"""Snapshots: what is written comes back, and what is not a snapshot of this training is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.config import CheckpointError
from engine.train.learner import WholeLearner, restore
from engine.train.masking import FAMILY
from engine.train.objective import Weighing
from engine.train.optimiser import Optimiser, Rule
from engine.train.origin import Given, Scratch, origin_of
from engine.train.recipe import Decay, Precision, Recipe, Stage
from engine.train.snapshot import FILE, Snapshot
from tests.engine.small import TINY, small_network

RECIPE = Recipe(
    causal_steps=3, masking=FAMILY, weighing=Weighing.FAMILY, decay=Decay.LATE, blocks=(8,), precision=Precision.BFLOAT16
)


def learner() -> WholeLearner:
    """One that is small."""
    return WholeLearner(small_network().requires_grad_(True), TINY)


@pytest.mark.parametrize("rule", list(Rule))
def test_what_is_written_comes_back(tmp_path: Path, rule: Rule) -> None:
    """Recipe, origin, place, tensors and moments survive the file, bit for bit."""
    one = learner()
    trained = one.trained(Stage.JOINT)
    optimiser = Optimiser(rule, trained)
    for parameter in trained.values():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step(0.1)
    origin = Given("a", "1" * 64, "b", "2" * 64, 512, 8)
    Snapshot(RECIPE, origin.document(), Stage.JOINT, 2, one.stored(), optimiser.moments(), 1.5).write(tmp_path)
    found = Snapshot.read(tmp_path)
    assert (found.recipe, origin_of(found.origin), found.stage, found.step) == (RECIPE, origin, Stage.JOINT, 2)
    assert found.seconds == 1.5
    other = learner()
    restore(other, found.learned)
    assert all(torch.equal(left, right) for left, right in zip(other.stored().values(), one.stored().values(), strict=True))
    fresh = Optimiser(rule, other.trained(Stage.JOINT))
    fresh.give(found.moments)
    assert fresh.moments().keys() == trained.keys()
    for name, parts in fresh.moments().items():
        for part, value in parts.items():
            assert torch.equal(value, optimiser.moments()[name][part])


def test_a_snapshot_of_another_network_is_refused(tmp_path: Path) -> None:
    """Tensors of other names or shapes are never copied, and moments only to what is trained."""
    one = learner()
    wrong = {name: tensor[:1] for name, tensor in one.stored().items()}
    with pytest.raises(CheckpointError, match="another network"):
        restore(one, wrong)
    with pytest.raises(CheckpointError, match="moments of x"):
        Optimiser(Rule.MUON, one.trained(Stage.JOINT)).give({"x": {"step": torch.ones(())}})


@pytest.mark.parametrize("story", [None, "", "{", "[]", '{"recipe": {}}', '{"recipe": {"masking": 3}, "origin": {}}'])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, story: str | None) -> None:
    """Safetensors without our story in its header are no snapshot."""
    save_file({"learned/x": torch.zeros(1)}, tmp_path / FILE, metadata=None if story is None else {"palimpsest": story})
    with pytest.raises(CheckpointError, match="not written by this trainer"):
        Snapshot.read(tmp_path)


def test_origins_come_back_and_nothing_else_does() -> None:
    """Plain data gives the origin it came from; an unknown kind or field is an error."""
    assert origin_of(Scratch("whole").document()) == Scratch("whole")
    for wrong in ({}, {"kind": "evil"}, {"kind": "scratch", "path": "x"}):
        with pytest.raises(CheckpointError, match="origin"):
            origin_of(wrong)


def test_a_recipe_is_plain_data() -> None:
    """Every field of a recipe survives being written down."""
    assert Recipe.from_document(RECIPE.document()) == RECIPE != replace(RECIPE, seed=7)
