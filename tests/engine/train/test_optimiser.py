"""Laws of the optimiser: who steps what, by which rate."""

import pytest
import torch
from torch import nn

from engine.train.optimiser import MUON_RATIO, Optimiser, Rule

RATE = 1e-2


def parameters() -> dict[str, nn.Parameter]:
    """A projection, a head and a norm, each with a gradient of one."""
    shapes = {"layers.0.q_proj.weight": (8, 12), "diffusion_head.weight": (16, 8), "norm.weight": (8,)}
    generator = torch.Generator().manual_seed(3)
    made = {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}
    for value in made.values():
        value.grad = torch.randn(value.shape, generator=generator)
    return made


def test_muon_steps_projections_orthogonally() -> None:
    """A projection's first step, decay aside, has singular values alike; AdamW's steps have not."""
    spread = {}
    for rule in Rule:
        trained = parameters()
        name = "layers.0.q_proj.weight"
        before = trained[name].detach().clone()
        Optimiser(rule, trained).step(RATE)
        ratio = MUON_RATIO if rule is Rule.MUON else 1.0
        moved = trained[name].detach() - before * (1 - RATE * ratio * 0.05)
        values = torch.linalg.svdvals(moved)
        spread[rule] = float(values.max() / values.min())
    assert spread[Rule.MUON] < 2.0 < spread[Rule.ADAMW]


@pytest.mark.parametrize("rule", list(Rule))
def test_everything_trained_moves_and_forgets_its_gradient(rule: Rule) -> None:
    """One step changes every parameter and leaves no gradient; what is no projection moves alike under both rules."""
    trained, other = parameters(), parameters()
    before = {name: value.detach().clone() for name, value in trained.items()}
    Optimiser(rule, trained).step(RATE)
    Optimiser(Rule.ADAMW, other).step(RATE)
    for name, value in trained.items():
        assert value.grad is None and not torch.equal(value, before[name])
        assert name.endswith("_proj.weight") or torch.equal(value, other[name])
