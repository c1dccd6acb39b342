"""The engine on a CUDA device: every operation of a pass is a kernel of `kernels/`, and tokens are picked beside it.

Both numeric policies compute in the dtype that checkpoints are released in, bfloat16. They differ in their products alone:
`strict` makes them in tiles of a fixed order, so a row's bits depend on its own sequence, `fast` as the library likes.
A pass is told to the device in one copy and tells its picks in one. Where no kernel runs, the doors of `kernels/` open to the
definitions, so all of this can be tried on a CPU; the tests do, and in Triton's interpreter too.
Legend: R rows, W wanted rows, H hidden, D head size, Hq query heads, Hk key heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor

from engine.chain import Link
from engine.device_picks import DevicePicks, Picked
from engine.graphs import Capture, Recorded, Recorder
from engine.layout import ROWS, DeviceRows, Layout, ready, tiles_of
from engine.memory import require_room
from engine.model.network import Linear, Network, plain_linear
from engine.model.rope import half_turns
from engine.model.weights import LayerWeights, Weights
from engine.pages import PagePool
from engine.plan import Plan
from engine.request import Numeric
from engine.sampling import Picks
from kernels.jit import HAS_TRITON
from kernels.linear import tiled_linear
from kernels.lora import gated_lora
from kernels.norm import add_rms_norm
from kernels.paged import paged_attention
from kernels.rotary import rotate_and_keep
from kernels.swiglu import silu_mul

_PRODUCTS: Final[dict[Numeric, Linear]] = {Numeric.STRICT: tiled_linear, Numeric.FAST: plain_linear}


@dataclass(frozen=True, slots=True)
class OnDevice:
    """A numeric policy on a device; on a CUDA device passes are captured as graphs.

    `recorder` is what makes recorded passes; without one none is made but on a CUDA device.
    """

    numeric: Numeric
    device: torch.device
    dtype: torch.dtype = torch.bfloat16
    recorder: Callable[[torch.device], Recorder] | None = None

    def prepare(self, network: Network) -> DevicePass:
        """The network's weights on the device. Raises DoesNotFit where it is not there or too small."""
        require_room(network, self.dtype, self.device)
        with current(self.device):
            return DevicePass(network, self)


class DevicePass:
    """A network on a device, ready to run (a `Forward`).

    `picked` [wanted rows] are the tokens of the newest pass; the next one may take its own from there.
    """

    most = 4

    def __init__(self, network: Network, policy: OnDevice) -> None:
        self._weights = Weights(network, policy.dtype, policy.device, policy.dtype)
        self._linear, self._device = _PRODUCTS[policy.numeric], policy.device
        self._pick = DevicePicks(self._weights.head, network.config.mask_token_id)
        self._picked = torch.zeros(ROWS[-1], dtype=torch.int32, device=policy.device)
        self._turns = self._scales = torch.empty(0)
        self._recorder = policy.recorder or (Capture if policy.device.type == "cuda" else None)
        self._recorded: tuple[PagePool, Recorded] | None = None
        self.kernels = _made_with(policy.device)

    def padded(self, rows: int) -> int:
        """As they are: a program's tile has one shape whatever it holds."""
        return rows

    def __call__(self, passes: Iterable[Link], pool: PagePool) -> list[list[Picks]]:
        """Run one after the other, taking each while those before it run, and pick for the wanted rows of each."""
        found: list[Picked] = []
        with current(self._device):
            for each in passes:
                self._reach(int(each.plan.position.max()))
                found.append(self._pick(self._states(each.plan, pool), each.plan.picks, each.asks))
                if len(each.plan.wanted) > len(self._picked):
                    break
                found[-1].into(self._picked)
            # One copy, and the only time that the host waits for the device.
            facts = torch.cat([each.facts for each in found], dim=1).cpu().numpy()
            cuts = np.cumsum([each.facts.shape[1] for each in found])[:-1]
            return [each.read(own) for each, own in zip(found, np.split(facts, cuts, axis=1), strict=True)]

    def _states(self, plan: Plan, pool: PagePool) -> Tensor:
        """The hidden states of the wanted rows, by a recorded pass if passes are recorded and one can hold the plan."""
        tiles = tiles_of(plan)
        exact = Layout.of(plan, tiles)
        if self._recorder is not None and (roomy := exact.roomy()) is not None:
            return self._passes(self._recorder, pool)(roomy, plan, tiles)
        told = ready(exact.told(plan, tiles), self._device).to(self._device, non_blocking=True)
        return self._hidden(DeviceRows.of(exact, told), pool)

    def _passes(self, recorder: Callable[[torch.device], Recorder], pool: PagePool) -> Recorded:
        """What was recorded over this pool since the tables of positions last grew, by a recorder with memory of its own."""
        if self._recorded is None or self._recorded[0] is not pool:
            self._recorded = pool, Recorded(lambda rows: self._hidden(rows, pool), recorder(self._device), self._device)
        return self._recorded[1]

    def _hidden(self, rows: DeviceRows, pool: PagePool) -> Tensor:
        """The hidden states [W, H] of the wanted rows, ready for the head; clean rows' keys and values are in their pages."""
        x = F.embedding(rows.tokens(self._picked), self._weights.embedding)
        found = torch.zeros_like(x)
        for index, layer in enumerate(self._weights.layers):
            x, found = self._layer(layer, pool.kv[index], rows, x, found)
        _, hidden = add_rms_norm(x, found, self._weights.norm, self._weights.config.rms_norm_eps)
        return hidden.index_select(0, rows.wanted)

    def _layer(self, layer: LayerWeights, pages: Tensor, rows: DeviceRows, x: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """The residual stream [R, H] after the layer's attention, and what its feed-forward block adds."""
        eps, size = self._weights.config.rms_norm_eps, self._weights.config.head_dim
        x, normed = add_rms_norm(x, found, layer.input_norm, eps)
        heads = self._linear(normed, layer.qkv).view(len(x), -1, size)
        turned = rotate_and_keep(heads, self._turns, self._scales, rows.position, rows.slot, pages)
        mixed = paged_attention(turned, pages, rows.seen)
        out = self._linear(mixed, layer.out)
        if layer.lora is not None and rows.gate is not None:
            out = gated_lora(out, mixed, *layer.lora, rows.gate)
        x, normed = add_rms_norm(x, out, layer.post_norm, eps)
        return x, self._linear(silu_mul(self._linear(normed, layer.gate_up)), layer.down)

    def _reach(self, furthest: int) -> None:
        """Have the rotations [positions, 2, D / 2] and query scales of every position up to `furthest`.

        What was recorded reads the tables where they lay, so it is forgotten when they grow: each time to twice their length.
        """
        if furthest < len(self._turns):
            return
        weights = self._weights
        cos, sin, scales = half_turns(weights.frequencies, weights.config.rope, max(furthest, 2 * len(self._turns)))
        self._turns, self._scales = torch.stack((cos, sin), 1).to(self._device), scales.to(self._device)
        self._recorded = None


def current(device: torch.device) -> AbstractContextManager[object]:
    """Make a CUDA device the one that Triton and graphs launch on, in this thread."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _made_with(device: torch.device) -> str:
    """What computes, as a fingerprint has it."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"triton {version('triton') if HAS_TRITON else None}, cuda {torch.version.cuda}, {name}"
