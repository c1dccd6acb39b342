"""One pass of the network over a plan: rows in, logits of the wanted rows out, clean rows' keys and values in their pages."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from engine.model.network import Network
from engine.model.weights import Attend, Products, Weights
from engine.pages import PagePool
from engine.plan import Flag, Plan


class Forward(Protocol):
    """A network made ready to run."""

    kernels: str
    """What computes it, as the fingerprint has it."""

    def padded(self, rows: int) -> int:
        """How many rows a pass has that needs `rows`."""

    def __call__(self, plan: Plan, pool: PagePool) -> Tensor:
        """Logits float32 [W, V] of the wanted rows, in row order."""


class Library(Products, Protocol):
    """A numeric policy in terms of torch's operations."""

    dtype: torch.dtype

    def padded(self, rows: int) -> int:
        """How many rows a pass has that needs `rows`."""

    def attention(self, plan: Plan, pool: PagePool) -> Attend:
        """The visibility rule of one pass, ready to be asked layer by layer."""


class LibraryPass:
    """A network run by torch, operation by operation: the definition that any compiled pass is held to."""

    kernels = "torch"

    def __init__(self, network: Network, library: Library) -> None:
        self._weights, self._library = Weights(network, library.dtype), library
        self.padded = library.padded

    def __call__(self, plan: Plan, pool: PagePool) -> Tensor:
        return run(self._weights, self._library, plan, pool)


def run(weights: Weights, library: Library, plan: Plan, pool: PagePool) -> Tensor:
    """Logits float32 [W, V] of the wanted rows, in row order."""
    gate = None
    if plan.lora:
        gate = torch.from_numpy((plan.field(2) & Flag.LORA) != 0)[:, None].to(library.dtype)
    hidden = weights.forward(
        torch.from_numpy(plan.token),
        torch.from_numpy(plan.position),
        int(plan.position.max()),
        library.attention(plan, pool),
        library,
        gate,
    )
    if len(plan.wanted) != len(hidden):
        hidden = hidden.index_select(0, torch.from_numpy(plan.wanted))
    return library.linear(hidden.to(torch.float32), weights.head)
