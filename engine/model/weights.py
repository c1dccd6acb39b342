"""The network's weights as decoding wants them: in one dtype, the projections that share an input side by side.

`forward` is the same arithmetic as `Network.forward`, which is its definition and what training uses; a test holds the two
to one another. Who may see whom and how a product is summed are handed in (`Attend`, `Products`), so every numeric policy
and every mode share this one path. Shapes: R rows, H hidden, D head_dim, Hq query heads, Hk key heads, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor

from engine.config import ModelConfig
from engine.model.network import HOST, LORA_SCALE, Layer, Network
from engine.model.rope import turn, turns


class Products(Protocol):
    """How a numeric policy computes what depends on the order of a sum."""

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        """x [R, K] times weight [N, K] transposed -> [R, N]."""

    def norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """Root-mean-square norm of x [R, H], scaled by weight [H]."""


Attend = Callable[[int, Tensor], Tensor]
"""Layer, rotated heads [R, Hq + 2 Hk, D] (queries, keys, values) -> [R, Hq * D]; keys and values of clean rows are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerWeights:
    """One layer. `qkv` is [(Hq + 2 Hk) D, H], `gate_up` [2 I, H]; the LoRA pair is None where it would add nothing."""

    input_norm: Tensor
    qkv: Tensor
    out: Tensor
    lora: tuple[Tensor, Tensor] | None
    post_norm: Tensor
    gate_up: Tensor
    down: Tensor

    @classmethod
    def pack(cls, layer: Layer, kind: Tensor) -> LayerWeights:
        """The weights of one layer of the network, where `kind` lies and in its dtype."""
        attention, mlp = layer.self_attn, layer.mlp
        lora = (attention.lora_a, attention.lora_b * LORA_SCALE)
        return cls(
            input_norm=_cast(kind, layer.input_layernorm.weight),
            qkv=_cast(kind, attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight),
            out=_cast(kind, attention.o_proj.weight),
            lora=(_cast(kind, lora[0]), _cast(kind, lora[1])) if bool(lora[1].any()) else None,
            post_norm=_cast(kind, layer.post_attention_layernorm.weight),
            gate_up=_cast(kind, mlp.gate_proj.weight, mlp.up_proj.weight),
            down=_cast(kind, mlp.down_proj.weight),
        )


class Packed:
    """A whole network on one device and in one dtype, but for the head, which may have another."""

    def __init__(self, network: Network, dtype: torch.dtype, device: torch.device, head: torch.dtype) -> None:
        kind = torch.empty(0, dtype=dtype, device=device)
        self.config: ModelConfig = network.config
        self.embedding = _cast(kind, network.embed_tokens.weight)
        self.layers = [LayerWeights.pack(layer, kind) for layer in network.layers if isinstance(layer, Layer)]
        self.norm = _cast(kind, network.norm.weight)
        self.head = _cast(kind.to(head), network.diffusion_head.weight)


class Weights(Packed):
    """The same ready to decode on the host. The head is in float32, since logits that were rounded would tie."""

    def __init__(self, network: Network, dtype: torch.dtype) -> None:
        super().__init__(network, dtype, HOST, torch.float32)
        self._frequencies = network.frequencies

    def forward(self, tokens: Tensor, positions: Tensor, attend: Attend, products: Products, gate: Tensor | None) -> Tensor:
        """Hidden states [R, H] after the final norm, for int64 `tokens` and `positions` [R].

        `gate` [R, 1] is 1 for rows that run with the drafter LoRA and 0 for the others; None: off everywhere.
        """
        config = self.config
        eps, size, linear, norm = config.rms_norm_eps, config.head_dim, products.linear, products.norm
        x = F.embedding(tokens, self.embedding)
        cos, sin = turns(config, self._frequencies, positions, x.dtype)
        for index, layer in enumerate(self.layers):
            qkv = linear(norm(x, layer.input_norm, eps), layer.qkv)
            mixed = attend(index, turn(qkv.view(len(qkv), -1, size), cos, sin))
            x = x + linear(mixed, layer.out)
            if gate is not None and layer.lora is not None:
                x = x + gate * linear(linear(mixed, layer.lora[0]), layer.lora[1])
            opened, up = linear(norm(x, layer.post_norm, eps), layer.gate_up).chunk(2, dim=-1)
            x = x + linear(F.silu(opened).mul_(up), layer.down)
        return norm(x, self.norm, eps)


def _cast(kind: Tensor, *weights: Tensor) -> Tensor:
    """Below each other; a single one that is of the kind already is not copied."""
    found = weights[0].detach() if len(weights) == 1 else torch.cat([weight.detach() for weight in weights])
    return found.to(kind).contiguous()
