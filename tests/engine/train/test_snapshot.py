"""Snapshots: what is written comes back, and what is not a snapshot of this training is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("step",), 1e999), (("step",), -1), (("step",), "2"), (("step",), True), (("seconds",), float("nan")),
        (("stage",), "x"), ((), []),
        (("recipe", "batch"), 0), (("recipe", "batch"), "48"), (("recipe", "peak_rate"), None), (("recipe", "seed"), 1.5),
        (("recipe", "blocks"), []), (("recipe", "blocks"), ["x"]), (("recipe", "blocks"), 8), (("recipe", "masking"), []),
        (("recipe", "masking", "full_share"), "all"), (("recipe", "recompute"), 1), (("recipe",), [1]), (("origin",), 3),
    ],
)  # fmt: skip
def test_a_header_that_a_hand_has_changed_is_refused(tmp_path: Path, place: tuple[str, ...], value: object) -> None:
    """Whatever stands in place of a figure, it is one error that names the file, before any step is made."""
    origin = Scratch("whole").document()
    whole: Any = {"": {"recipe": RECIPE.document(), "origin": origin, "stage": "joint", "step": 2, "seconds": 1}}
    *outer, last = "", *place
    inner = whole
    for name in outer:
        inner = inner[name]
    inner[last] = value
    save_file({"learned/x": torch.zeros(1)}, tmp_path / FILE, metadata={"palimpsest": json.dumps(whole[""])})
    with pytest.raises(CheckpointError, match="not written by this trainer"):
        Snapshot.read(tmp_path)


def test_origins_come_back_and_nothing_else_does() -> None:
    """Plain data gives the origin it came from; an unknown kind or field is an error."""
    assert origin_of(Scratch("whole").document()) == Scratch("whole")
    good = Given("a", "1" * 64, "b", "2" * 64, 512, None).document()
    for wrong in ({}, {"kind": "evil"}, {"kind": "scratch", "path": "x"}, {"kind": "scratch", "mixture": "evil"},
                  good | {"context": "many"}, good | {"rank": 0}, good | {"data": 3}):  # fmt: skip
        with pytest.raises(CheckpointError, match="origin"):
            origin_of(wrong)


def test_a_recipe_is_plain_data() -> None:
    """Every field of a recipe survives being written down."""
    assert Recipe.from_document(RECIPE.document()) == RECIPE != replace(RECIPE, seed=7)
