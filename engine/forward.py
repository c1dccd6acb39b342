"""One pass of the network over a plan: rows in, logits of the wanted rows out, clean rows' keys and values in their pages."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.model.weights import Weights
from engine.numeric import Arithmetic
from engine.pages import PagePool
from engine.plan import Flag, Plan


def run(weights: Weights, arithmetic: Arithmetic, plan: Plan, pool: PagePool) -> Tensor:
    """Logits float32 [W, V] of the wanted rows, in row order."""
    gate = None
    if plan.lora:
        gate = torch.from_numpy((plan.field(2) & Flag.LORA) != 0)[:, None].to(arithmetic.dtype)
    hidden = weights.forward(
        torch.from_numpy(plan.token),
        torch.from_numpy(plan.position),
        int(plan.position.max()),
        arithmetic.attention(plan, pool),
        arithmetic,
        gate,
    )
    if len(plan.wanted) != len(hidden):
        hidden = hidden.index_select(0, torch.from_numpy(plan.wanted))
    return arithmetic.linear(hidden.to(torch.float32), weights.head)
