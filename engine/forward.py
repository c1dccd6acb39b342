"""One pass of the network over a plan: rows in, picks for the wanted rows out, clean rows' keys and values in their pages.

On the host a pass gives logits, which `engine.sampling` picks from; a device picks where it computes (`engine.device`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from engine.model.network import Network
from engine.model.weights import Attend, Products, Weights
from engine.pages import PagePool
from engine.plan import Plan
from engine.sampling import Ask, Logits, Picks, sample


class PlannedPass(Protocol):
    """A pass, ready to run: each ask has the next of the plan's wanted rows."""

    @property
    def plan(self) -> Plan: ...

    @property
    def asks(self) -> Sequence[Ask]: ...


class Forward(Protocol):
    """A network made ready to run."""

    kernels: str
    """What computes it, as the fingerprint has it."""
    most: int
    """How many passes in a row it is worth telling it before it is asked what was picked."""

    def padded(self, rows: int) -> int:
        """How many rows a pass has that needs `rows`."""

    def __call__(self, passes: Iterable[PlannedPass], pool: PagePool) -> list[list[Picks]]:
        """Run one after the other, taking each when it can be told, and pick for the wanted rows of each."""


class LogitsPass(Protocol):
    """A network made ready to run on the host."""

    kernels: str

    def padded(self, rows: int) -> int:
        """As in `Forward`."""

    def __call__(self, plan: Plan, pool: PagePool) -> Logits:
        """The logits of the wanted rows, in row order; they hold until the next pass."""


class OnHost:
    """A pass whose logits lie in the host's memory, and the picks from them: nothing is gained by guessing what comes next."""

    most = 1

    def __init__(self, logits: LogitsPass) -> None:
        self.logits = logits
        self.kernels, self.padded = logits.kernels, logits.padded

    def __call__(self, passes: Iterable[PlannedPass], pool: PagePool) -> list[list[Picks]]:
        return [self._picks(each, pool) for each in passes]

    def _picks(self, asked: PlannedPass, pool: PagePool) -> list[Picks]:
        logits = self.logits(asked.plan, pool)
        return sample(logits, asked.plan.picks, asked.asks) if asked.asks else []


class Library(Products, Protocol):
    """A numeric policy in terms of torch's operations."""

    dtype: torch.dtype

    @property
    def most_threads(self) -> int | None:
        """On how many threads it keeps its promise; None: it makes none that depends on them."""

    def padded(self, rows: int) -> int:
        """How many rows a pass has that needs `rows`."""

    def attention(self, plan: Plan, pool: PagePool) -> Attend:
        """The visibility rule of one pass, ready to be asked layer by layer."""


class LibraryPass:
    """A network run by torch, operation by operation: the definition that any compiled pass is held to.

    Lowers torch's thread count, process-wide, to what the policy can vouch for.
    """

    kernels = "torch"

    def __init__(self, network: Network, library: Library) -> None:
        if library.most_threads is not None and torch.get_num_threads() > library.most_threads:
            torch.set_num_threads(library.most_threads)
        self._weights, self._library = Weights(network, library.dtype), library
        self._mask_id = network.config.mask_token_id
        self.padded = library.padded

    def __call__(self, plan: Plan, pool: PagePool) -> Logits:
        return Logits.of(run(self._weights, self._library, plan, pool), self._mask_id)


def run(weights: Weights, library: Library, plan: Plan, pool: PagePool) -> Tensor:
    """Logits float32 [W, V] of the wanted rows, in row order."""
    gate = None
    if plan.lora:
        gate = torch.from_numpy(plan.gated)[:, None].to(library.dtype)
    hidden = weights.forward(
        torch.from_numpy(plan.token),
        torch.from_numpy(plan.position),
        library.attention(plan, pool),
        library,
        gate,
    )
    if len(plan.wanted) != len(hidden):
        hidden = hidden.index_select(0, torch.from_numpy(plan.wanted))
    return library.linear(hidden.to(torch.float32), weights.head)
