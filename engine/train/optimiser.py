"""How gradients become steps: AdamW, or Muon for the projections and AdamW for all else.

Muon (Jordan et al. 2024) makes every step of a matrix near orthogonal, so that no direction of it learns much faster than
another. In one comparison over the first million tokens of the tiny checkpoint's exercises it came to the same loss in about
half of AdamW's tokens. It is written here and not taken from torch because that one multiplies in bfloat16 wherever it is,
which on a CPU without such products took as long as everything else in a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import torch
from torch import Tensor, nn

from engine.config import CheckpointError

DECAY: Final = 0.05
MUON_RATIO: Final = 10 / 3
"""Muon's rate over AdamW's, with its steps scaled to the size of AdamW's (Liu et al. 2025)."""
MOMENTUM: Final = 0.95
_QUINTIC: Final = (3.4445, -4.7750, 2.0315)
_ROUNDS: Final = 5
_PROJECTION: Final = "_proj.weight"
_DECAYED: Final = (_PROJECTION, "diffusion_head.weight")


class Rule(StrEnum):
    """Which optimiser a run uses; low-rank pairs are always AdamW's."""

    ADAMW = "adamw"
    MUON = "muon"


class Optimiser:
    """Steps over named parameters; decay on projections and head alone; the rate is given at every step."""

    def __init__(self, rule: Rule, trained: Mapping[str, nn.Parameter]) -> None:
        self._trained = dict(trained)
        muon = {name: value for name, value in trained.items() if rule is Rule.MUON and name.endswith(_PROJECTION)}
        plain = {name: value for name, value in trained.items() if name not in muon}
        parts = [(make(own), own, ratio) for make, own, ratio in ((_adamw, plain, 1.0), (_muon, muon, MUON_RATIO)) if own]
        self._parts: list[tuple[torch.optim.Optimizer, float]] = [(made, ratio) for made, _, ratio in parts]
        self._owner: dict[str, torch.optim.Optimizer] = {name: made for made, own, _ in parts for name in own}

    def step(self, rate: float) -> None:
        """One step from the gradients that lie there, which are then gone."""
        for part, ratio in self._parts:
            for group in part.param_groups:
                group["lr"] = rate * ratio
            part.step()
            part.zero_grad(set_to_none=True)

    def moments(self) -> dict[str, dict[str, Tensor]]:
        """Its tensors by the name of what they belong to."""
        states = {name: self._owner[name].state for name in self._trained}
        return {name: dict(states[name][value]) for name, value in self._trained.items() if value in states[name]}

    def give(self, moments: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Put them back. Raises CheckpointError if they belong to something else."""
        for name, parts in moments.items():
            parameter = self._trained.get(name)
            if parameter is None or any(part.shape not in ((), parameter.shape) for part in parts.values()):
                raise CheckpointError(f"the snapshot holds moments of {name}, which this stage does not train in that shape")
            placed = {key: part.to(parameter.device) if part.shape else part for key, part in parts.items()}
            self._owner[name].state[parameter] = placed


def _adamw(trained: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
    decayed = [value for name, value in trained.items() if name.endswith(_DECAYED)]
    plain = [value for name, value in trained.items() if not name.endswith(_DECAYED)]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=0.0, betas=(0.9, 0.95))


def _muon(trained: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
    return Muon(trained.values())


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose steps are made near orthogonal, in float32, with decoupled decay; matrices only."""

    def __init__(self, matrices: Iterable[nn.Parameter]) -> None:
        super().__init__(matrices, {"lr": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002 - torch's signature
        """One step from the gradients that lie there; a step's root mean square is near that of AdamW's (Liu et al. 2025)."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                kept = self.state[matrix].setdefault("momentum_buffer", torch.zeros_like(matrix))
                kept.lerp_(matrix.grad, 1 - MOMENTUM)
                turned = orthogonal(matrix.grad.lerp(kept, MOMENTUM))
                matrix.mul_(1 - group["lr"] * DECAY)
                matrix.add_(turned, alpha=-0.2 * max(matrix.shape) ** 0.5 * group["lr"])


def orthogonal(matrix: Tensor) -> Tensor:
    """Near the nearest matrix [n, k] whose smaller side is orthonormal: singular values end between about 0.7 and 1.2,
    those below a hundredth of the norm lower.

    Five rounds of a quintic iteration (Jordan et al. 2024) on the side that has fewer rows.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    a, b, c = _QUINTIC
    for _ in range(_ROUNDS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
