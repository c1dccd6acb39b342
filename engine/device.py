"""The engine on a CUDA device: every operation of a pass is a kernel of `kernels/`, and tokens are picked beside it.

Both numeric policies compute in the dtype that checkpoints are released in, bfloat16. They differ in their products alone:
`strict` makes them in tiles of a fixed order, so a row's bits depend on its own sequence, `fast` as the library likes.
A pass is told to the device in one copy and tells its picks in one. Where no kernel runs, the doors of `kernels/` open to the
definitions, so all of this can be tried on a CPU; the tests do, and in Triton's interpreter too.
Legend: R rows, W wanted rows, H hidden, D head size, Hq query heads, Hk key heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from numpy.typing import NDArray
from torch import Tensor

from engine.attend import group_tiles
from engine.device_picks import DevicePicks
from engine.memory import require, require_room
from engine.model.network import Network
from engine.model.rope import half_turns
from engine.model.weights import LayerWeights, Packed
from engine.pages import PagePool
from engine.plan import Flag, Ints, Plan
from engine.request import Numeric
from engine.sampling import Ask, Picks
from kernels.jit import HAS_TRITON
from kernels.linear import tiled_linear
from kernels.lora import gated_lora
from kernels.norm import add_rms_norm
from kernels.paged import CLEAN, Rows, paged_attention
from kernels.rotary import rotate_and_keep
from kernels.swiglu import silu_mul

Linear = Callable[[Tensor, Tensor], Tensor]
_PRODUCTS: Final[dict[Numeric, Linear]] = {Numeric.STRICT: tiled_linear, Numeric.FAST: F.linear}


class OnDevice:
    """A numeric policy on a device (an `Arithmetic`)."""

    def __init__(self, numeric: Numeric, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> None:
        self.numeric, self.device, self.dtype = numeric, device, dtype

    def prepare(self, network: Network) -> DevicePass:
        """The network's weights on the device. Raises DoesNotFit where it is not there or too small."""
        require(self.device)
        require_room(network, self.dtype, self.device)
        return DevicePass(network, self)


class DevicePass:
    """A network on a device, ready to run (a `Forward`)."""

    def __init__(self, network: Network, policy: OnDevice) -> None:
        self._weights = Packed(network, policy.dtype, policy.device, policy.dtype)
        self._linear, self._device = _PRODUCTS[policy.numeric], policy.device
        self._pick = DevicePicks(self._weights.head, network.config.mask_token_id)
        self._frequencies = network.frequencies
        self._turns = self._scales = torch.empty(0)
        self.kernels = _made_with(policy.device)

    def padded(self, rows: int) -> int:
        """As they are: a program's tile has one shape whatever it holds."""
        return rows

    def __call__(self, plan: Plan, pool: PagePool, asks: Sequence[Ask]) -> list[Picks]:
        """Run the plan, and pick for its wanted rows: each ask has the next of them."""
        self._reach(int(plan.position.max()))
        rows = _DeviceRows.of(plan, self._device)
        x = F.embedding(rows.token, self._weights.embedding)
        found = torch.zeros_like(x)
        for index, layer in enumerate(self._weights.layers):
            x, found = self._layer(layer, pool.kv[index], rows, x, found)
        if not asks:
            return []
        _, hidden = add_rms_norm(x, found, self._weights.norm, self._weights.config.rms_norm_eps)
        return self._pick(hidden.index_select(0, rows.wanted), plan.picks, asks)

    def _layer(self, layer: LayerWeights, pages: Tensor, rows: _DeviceRows, x: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
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
        """Have the rotations [positions, 2, D / 2] and query scales of every position up to `furthest`."""
        if furthest < len(self._turns):
            return
        cos, sin, scales = half_turns(self._frequencies, self._weights.config.rope, furthest)
        self._turns, self._scales = torch.stack((cos, sin), 1).to(self._device), scales.to(self._device)


@dataclass(frozen=True, slots=True, eq=False)
class _DeviceRows:
    """A plan on the device, int32: `token`, `position` and `slot` [R], `wanted` [W]; `gate` float32 [R], None without LoRA."""

    token: Tensor
    position: Tensor
    slot: Tensor
    wanted: Tensor
    seen: Rows
    gate: Tensor | None

    @classmethod
    def of(cls, plan: Plan, device: torch.device) -> _DeviceRows:
        gated = (plan.field(2) & Flag.LORA) != 0
        fields = (plan.token, plan.position, plan.slot, plan.wanted, *sight(plan), gated)
        token, position, slot, wanted, limit, groups, work, tables, gate = _carried(fields, device)
        seen = Rows(limit, groups, work, tables, int(plan.limit.max()))
        return cls(token, position, slot, wanted, seen, gate.float() if plan.lora else None)


def sight(plan: Plan) -> tuple[Ints, Ints, Ints, Ints]:
    """Who sees whom: limit and group of each row, tiles, page tables, as `kernels.paged.Rows` explains them."""
    laid, sequence, _ = (np.concatenate(part) for part in zip(*map(group_tiles, plan.groups), strict=True))
    group = np.where(plan.field(2) & Flag.NOISY, plan.field(1), CLEAN)
    return plan.limit, group, np.stack((laid[:, 0], laid[:, -1] - laid[:, 0] + 1, sequence), axis=1), plan.tables


def _carried(fields: Sequence[NDArray[np.integer | np.bool_]], device: torch.device) -> list[Tensor]:
    """The arrays as int32 on the device, all in one copy."""
    flat = torch.from_numpy(np.concatenate([field.reshape(-1) for field in fields], dtype=np.int32, casting="unsafe"))
    if device.type == "cuda":
        flat = flat.pin_memory()
    parts = torch.split(flat.to(device, non_blocking=True), [field.size for field in fields])
    return [part.view(field.shape) for part, field in zip(parts, fields, strict=True)]


def _made_with(device: torch.device) -> str:
    """What computes, as a fingerprint has it."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"triton {version('triton') if HAS_TRITON else None}, cuda {torch.version.cuda}, {name}"
