"""How gradients become steps: AdamW, or Muon for the projections and AdamW for all else.

Muon (Jordan et al. 2024) makes every step of a matrix near orthogonal, so that no direction of it learns much faster than
another. In one comparison over the first million tokens of the tiny checkpoint's exercises it came to the same loss in about
half of AdamW's tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import torch
from torch import Tensor, nn

from engine.config import CheckpointError

DECAY: Final = 0.05
MUON_RATIO: Final = 10 / 3
"""Muon's rate over AdamW's, with its steps scaled to the size of AdamW's (Liu et al. 2025)."""
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
    return torch.optim.Muon(trained.values(), lr=0.0, momentum=0.95, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")
