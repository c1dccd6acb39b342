"""Passes that are recorded once and then replayed: on a CUDA device a graph, which starts some 400 kernels in one launch.

A recorded pass reads what it is told from an array that never moves, and leaves the hidden states of the wanted rows in one
that never moves either. It is made at the first plan of its layout and serves every plan that fits into that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from engine.layout import DeviceRows, Layout, ready
from engine.plan import Ints, Plan

KEPT: Final = 64
"""Recorded passes that are kept; the one that was not used for longest goes first."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """`again` runs what was recorded and leaves what it computes in `result`."""

    again: Callable[[], None]
    result: Tensor


Recorder = Callable[[Callable[[], Tensor]], Recording]
"""Records what always reads and writes the same memory; it may run in the course of that."""


class Capture:
    """Records CUDA graphs, which share one pool of memory: only one of them runs at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._memory = device, torch.cuda.graph_pool_handle()

    def __call__(self, run: Callable[[], Tensor]) -> Recording:
        """Run once on the side, so that kernels are compiled and libraries have their work space, then capture."""
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            run()
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory):
            result = run()
        return Recording(graph.replay, result)


class Recorded:
    """The recorded passes of one network over one pool of pages; `run` gives the hidden states [W, H] of the wanted rows."""

    def __init__(self, run: Callable[[DeviceRows], Tensor], recorder: Recorder, device: torch.device) -> None:
        self._run, self._recorder, self._device = run, recorder, device
        self._passes: OrderedDict[Layout, tuple[Tensor, Recording]] = OrderedDict()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._passes)

    def __call__(self, layout: Layout, plan: Plan, tiles: Ints) -> Tensor:
        """Hidden states [W, H] of the plan's wanted rows. They are copied: the next replay writes over where they lay."""
        told = ready(layout.told(plan, tiles), self._device)
        if layout not in self._passes:
            self._passes[layout] = self._record(layout, told)
            if len(self._passes) > KEPT:
                self._passes.popitem(last=False)
        self._passes.move_to_end(layout)
        place, recording = self._passes[layout]
        place.copy_(told, non_blocking=True)
        recording.again()
        return recording.result[: len(plan.wanted)].clone()

    def _record(self, layout: Layout, told: Tensor) -> tuple[Tensor, Recording]:
        """A pass over the plan that was told; that it then runs again writes the same keys and values once more."""
        place = told.clone().to(self._device)
        return place, self._recorder(lambda: self._run(DeviceRows.of(layout, place)))
