"""The network's weights as decoding wants them: in one dtype, the projections that share an input side by side.

Shapes: H hidden, D head_dim, Hq query heads, Hk key heads, I inner width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.model.network import HOST, LORA_SCALE, Layer, Network


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


class Weights:
    """A whole network on one device and in one dtype, but for the head, which may have another."""

    def __init__(
        self, network: Network, dtype: torch.dtype, device: torch.device = HOST, head: torch.dtype = torch.float32
    ) -> None:
        """The head is in float32 unless told otherwise, since logits that were rounded would tie."""
        kind = torch.empty(0, dtype=dtype, device=device)
        self.config, self.frequencies = network.config, network.frequencies
        self.embedding = _cast(kind, network.embed_tokens.weight)
        self.layers = [LayerWeights.pack(layer, kind) for layer in network.layers if isinstance(layer, Layer)]
        self.norm = _cast(kind, network.norm.weight)
        self.head = _cast(kind.to(head), network.diffusion_head.weight)


def _cast(kind: Tensor, *weights: Tensor) -> Tensor:
    """Below each other; a single one that is of the kind already is not copied."""
    found = weights[0].detach() if len(weights) == 1 else torch.cat([weight.detach() for weight in weights])
    return found.to(kind).contiguous()
