"""Single passes by hand: a pool, weights and an arithmetic, without engine, scheduler or mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.forward import HostPass
from engine.graphs import Recording
from engine.model.network import Network
from engine.numeric import STRICT, Arithmetic
from engine.pages import PagePool
from engine.plan import Plan, Step, Want, clean
from tests.engine.harness import model

PROMPT = tuple((7 * n) % 99 for n in range(300))


class Room:
    """Where passes over some sequences run, one after another."""

    def __init__(self, network: Network | None = None, arithmetic: Arithmetic | None = None, pages: int = 64) -> None:
        network = network or model().network
        self.arithmetic = arithmetic or STRICT
        prepared = self.arithmetic.prepare(network)
        assert isinstance(prepared, HostPass)
        self.forward = prepared
        self.pool = PagePool(network.config, pages, self.arithmetic.dtype)

    def run(self, *steps: tuple[KVCache, Step]) -> Tensor:
        """One pass; the logits of the wanted rows, in the order of the steps."""
        for cache, step in steps:
            assert cache.reserve(cache.filled + step.frame.clean)
        with torch.inference_mode():
            return torch.from_numpy(self.forward.logits(Plan.pack(steps, self.forward.padded), self.pool).raw.copy())

    def prefilled(self, tokens: Sequence[int], chunk: int = 128) -> KVCache:
        """A cache that holds `tokens`, written in passes of `chunk`."""
        cache = KVCache(self.pool, b"")
        for start in range(0, len(tokens), chunk):
            part = tokens[start : start + chunk]
            self.run((cache, clean(part, Want.NONE)))
            cache.keep(len(part), tokens)
        return cache


def repeated(run: Callable[[], Tensor]) -> Recording:
    """What stands in for a graph where there are none: it is run again."""
    result = run()

    def again() -> None:
        result.copy_(run())

    return Recording(again, result)
