"""Laws of the optimiser: who steps what, by which rate."""

import pytest
import torch
from torch import nn

from engine.train.optimiser import DECAY, MOMENTUM, MUON_RATIO, Muon, Optimiser, Rule, orthogonal

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


@pytest.mark.parametrize("shape", [(64, 192), (96, 192), (512, 192), (1, 7)])
def test_orthogonal_turns_and_hardly_stretches(shape: tuple[int, int]) -> None:
    """Singular values come close to one, whichever side is the longer, and the singular vectors stay."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    values = left.T @ orthogonal(matrix) @ right.T
    assert values.diagonal().min() > 0.6 and values.diagonal().max() < 1.3
    assert (values - values.diagonal().diag()).abs().max() < 1e-3


def test_muon_is_the_librarys_but_for_its_precision() -> None:
    """Over steps of random gradients it stays within bfloat16's rounding of torch's own Muon."""
    start, generator = torch.randn(8, 12, generator=torch.Generator().manual_seed(7)), torch.Generator().manual_seed(8)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    own = Muon([ours])
    library = torch.optim.Muon([theirs], lr=0.0, momentum=MOMENTUM, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        gradient = torch.randn(8, 12, generator=generator)
        for optimiser, parameter in ((own, ours), (library, theirs)):
            parameter.grad = gradient.clone()
            optimiser.param_groups[0]["lr"] = RATE
            optimiser.step()
    assert (ours - theirs).abs().max() < 0.02 * (ours - start).abs().max()
