"""One pass of the network over a plan: rows in, picks for the wanted rows out, clean rows' keys and values in their pages.

On the host a pass gives logits, which `engine.sampling` picks from; a device picks where it computes (`engine.device`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Protocol

from engine.chain import Link
from engine.pages import PagePool
from engine.plan import Plan
from engine.sampling import Logits, Picks, sample


class Forward(Protocol):
    """A network made ready to run."""

    kernels: str
    """What computes it, as the fingerprint has it."""
    most: int
    """How many passes in a row it is worth telling it before it is asked what was picked."""

    def padded(self, rows: int, /) -> int:
        """How many rows a pass has that needs `rows`."""

    def __call__(self, passes: Iterable[Link], pool: PagePool) -> list[list[Picks]]:
        """Run one after the other, taking each when it can be told, and pick for the wanted rows of each."""


class HostPass(ABC):
    """A `Forward` whose logits lie in the host's memory: nothing is gained by guessing what comes next."""

    kernels: str
    padded: Callable[[int], int]
    most = 1

    @abstractmethod
    def logits(self, plan: Plan, pool: PagePool) -> Logits:
        """The logits of the wanted rows, in row order; they hold until the next pass."""

    def __call__(self, passes: Iterable[Link], pool: PagePool) -> list[list[Picks]]:
        return [self._picks(each, pool) for each in passes]

    def _picks(self, asked: Link, pool: PagePool) -> list[Picks]:
        logits = self.logits(asked.plan, pool)
        return sample(logits, asked.plan.picks, asked.asks) if asked.asks else []
