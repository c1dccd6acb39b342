"""A pass by torch's operations, one after the other: where nothing is compiled, and the definition of what is.

It is the arithmetic of `Network.forward`, which is its definition in turn and what training uses; a test holds the two to one
another. Who may see whom and how a product is summed are a policy's (`Library`), so every mode shares this one path.
Shapes: R rows, H hidden, D head_dim, Hq query heads, Hk key heads, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor

from engine.forward import HostPass
from engine.model.network import HOST, Linear, Network
from engine.model.rope import rotate, turns
from engine.model.weights import Weights
from engine.native import CompiledPass
from engine.pages import PagePool
from engine.plan import Plan
from engine.request import Numeric
from engine.sampling import Logits
from kernels.norm import rms_norm_reference

Attend = Callable[[int, Tensor], Tensor]
"""Layer, rotated heads [R, Hq + 2 Hk, D] (queries, keys, values) -> [R, Hq * D]; keys and values of clean rows are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A numeric policy on the host, in terms of torch's operations.

    `linear` is x [R, K] times weight [N, K] transposed -> [R, N]. `padded` says how many rows a pass has that needs so many,
    and `attention` is the visibility rule of one pass, ready to be asked layer by layer. On more than `most_threads` threads
    the policy cannot keep its promise.
    """

    numeric: Numeric
    dtype: torch.dtype
    linear: Linear
    padded: Callable[[int], int]
    attention: Callable[[Plan, PagePool], Attend]
    most_threads: int | None = None
    device: torch.device = HOST

    def prepare(self, network: Network) -> HostPass:
        """The network, ready to run under this policy: compiled where that is possible."""
        compiled = CompiledPass.usable(network.config, self.dtype)
        return CompiledPass(network, self.dtype) if compiled else LibraryPass(network, self)


class LibraryPass(HostPass):
    """A network run by torch. Lowers torch's thread count, process-wide, to what the policy can vouch for."""

    kernels = "torch"

    def __init__(self, network: Network, library: Library) -> None:
        if library.most_threads is not None and torch.get_num_threads() > library.most_threads:
            torch.set_num_threads(library.most_threads)
        self._weights, self._library = Weights(network, library.dtype), library
        self._mask_id = network.config.mask_token_id
        self.padded = library.padded

    def logits(self, plan: Plan, pool: PagePool) -> Logits:
        return Logits.of(run(self._weights, self._library, plan, pool), self._mask_id)


def run(weights: Weights, library: Library, plan: Plan, pool: PagePool) -> Tensor:
    """Logits float32 [W, V] of the wanted rows, in row order."""
    gate = torch.from_numpy(plan.gated)[:, None].to(library.dtype) if plan.lora else None
    token, position, wanted = (torch.from_numpy(part) for part in (plan.token, plan.position, plan.wanted))
    hidden = hidden_states(weights, library, token, position, library.attention(plan, pool), gate)
    if len(wanted) != len(hidden):
        hidden = hidden.index_select(0, wanted)
    return library.linear(hidden.to(torch.float32), weights.head)


def hidden_states(
    weights: Weights, library: Library, tokens: Tensor, positions: Tensor, attend: Attend, gate: Tensor | None
) -> Tensor:
    """Hidden states [R, H] after the final norm, for int64 `tokens` and `positions` [R].

    `gate` [R, 1] is 1 for rows that run with the drafter LoRA and 0 for the others; None: off everywhere.
    """
    config, linear = weights.config, library.linear
    eps, size = config.rms_norm_eps, config.head_dim
    x = F.embedding(tokens, weights.embedding)
    cos, sin = turns(config, weights.frequencies, positions, x.dtype)
    for index, layer in enumerate(weights.layers):
        qkv = linear(rms_norm_reference(x, layer.input_norm, eps), layer.qkv)
        mixed = attend(index, rotate(qkv.view(len(qkv), -1, size), cos, sin))
        x = x + linear(mixed, layer.out)
        if gate is not None and layer.lora is not None:
            x = x + gate * linear(linear(mixed, layer.lora[0]), layer.lora[1])
        opened, up = linear(rms_norm_reference(x, layer.post_norm, eps), layer.gate_up).chunk(2, dim=-1)
        x = x + linear(F.silu(opened).mul_(up), layer.down)
    return rms_norm_reference(x, weights.norm, eps)
