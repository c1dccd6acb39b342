"""One network for training and for every decoding mode.

The network knows weights and positions. Who may see whom (`attend`) and how a product is summed (`linear`) are handed in:
training passes a dual-stream mask and plain matmuls, the engine passes its visibility rule and fixed tiles. Causal and
bidirectional passes share every weight; only the drafter LoRA, gated per row, differs.
Shapes: n rows, H hidden, D head_dim, V vocabulary; leading batch dimensions are free.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.model.rope import inverse_frequencies, query_scale, rotate, rotation

HOST = torch.device("cpu")
LORA_SCALE = 4.0  # lora_alpha / r, the same at every size of the family


Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""Attention of a layer over rotated heads: q [..., n, Hq, D], k and v [..., n, Hkv, D] -> [..., n, Hq, D]."""

Linear = Callable[[Tensor, Tensor], Tensor]
"""x [..., K] times weight [N, K] transposed -> [..., N]."""

plain_linear: Linear = F.linear
"""The matmul torch likes best; its summation order depends on the number of rows."""


@dataclass(frozen=True, slots=True)
class Place:
    """What the places of a pass are: their rotation (cosines and sines), the scale of their queries, their drafter gate."""

    turn: tuple[Tensor, Tensor]
    scale: Tensor
    gate: Tensor | None

    def of(self, wanted: Tensor) -> Place:
        """Those of these places alone."""
        (cosines, sines), gate = self.turn, self.gate
        return Place((cosines[wanted], sines[wanted]), self.scale[wanted], None if gate is None else gate[wanted])


class RMSNorm(nn.Module):
    """Root-mean-square norm, scaled by a weight (Zhang and Sennrich 2019)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions and a drafter LoRA on the output projection."""

    def __init__(self, config: ModelConfig, layer: int, lora_rank: int) -> None:
        super().__init__()
        self.layer, self.rope, self.head_dim = layer, config.rope, config.head_dim
        queries = config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, keys, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, keys, bias=False)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=False)
        self.lora_a = nn.Parameter(torch.zeros(lora_rank, queries))
        self.lora_b = nn.Parameter(torch.zeros(config.hidden_size, lora_rank))

    def forward(self, x: Tensor, place: Place, attend: Attend, linear: Linear, wanted: Tensor | None) -> Tensor:
        key = rotate(self._heads(linear(x, self.k_proj.weight)), *place.turn)
        value = self._heads(linear(x, self.v_proj.weight))
        if wanted is not None:
            x, place = x[wanted], place.of(wanted)
        query = rotate(self._heads(linear(x, self.q_proj.weight)), *place.turn) * place.scale.to(x.dtype)[..., None, None]
        mixed = attend(self.layer, query, key, value).flatten(-2)
        out = linear(mixed, self.o_proj.weight)
        if place.gate is None:
            return out
        return out + place.gate[..., None] * LORA_SCALE * linear(linear(mixed, self.lora_a), self.lora_b)

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], -1, self.head_dim)


class MLP(nn.Module):
    """SwiGLU feed-forward (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, linear: Linear) -> Tensor:
        opened = F.silu(linear(x, self.gate_proj.weight)) * linear(x, self.up_proj.weight)
        return linear(opened, self.down_proj.weight)


class Layer(nn.Module):
    """Pre-norm attention and feed-forward, each with a residual."""

    def __init__(self, config: ModelConfig, layer: int, lora_rank: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, layer, lora_rank)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, place: Place, attend: Attend, linear: Linear, wanted: Tensor | None) -> Tensor:
        attended = self.self_attn(self.input_layernorm(x), place, attend, linear, wanted)
        x = (x if wanted is None else x[wanted]) + attended
        fed: Tensor = self.mlp(self.post_attention_layernorm(x), linear)
        return x + fed


class Network(nn.Module):
    """Embedding, layers, final norm and an untied head shared by causal and bidirectional passes."""

    frequencies: Tensor

    def __init__(self, config: ModelConfig, lora_rank: int) -> None:
        super().__init__()
        self.config, self.lora_rank = config, lora_rank
        # From a blank table: drawing one on the meta device makes torch import its whole compiler, two seconds of every start.
        blank = torch.empty(config.vocab_size, config.hidden_size)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, _weight=blank)
        self.layers = nn.ModuleList(Layer(config, n, lora_rank) for n in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.diffusion_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.register_buffer("frequencies", inverse_frequencies(config.rope, config.head_dim), persistent=False)

    @classmethod
    def blank(cls, config: ModelConfig, lora_rank: int, dtype: torch.dtype) -> Network:
        """A network whose weights hold nothing yet: every one of them must be written before use."""
        with torch.device("meta"):
            network = cls(config, lora_rank)
        network.to(dtype).to_empty(device="cpu")
        network.frequencies = inverse_frequencies(config.rope, config.head_dim)
        return network

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        attend: Attend,
        linear: Linear = plain_linear,
        draft_gate: Tensor | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Hidden states [..., n, H] after the final norm.

        `tokens` and `positions` are int64 [..., n]; `draft_gate` is 1 for rows that run with the drafter LoRA and 0 for
        the others (None: off everywhere, and its products are not computed). With `wanted`, int64 [k], a pass over [n] gives
        those places alone, [k, H]: in the last layer the others are keys and values, and nothing more of them is computed.
        """
        x = self.embed_tokens(tokens)
        place = Place(rotation(self.frequencies, positions), query_scale(self.config.rope, positions), draft_gate)
        for layer in self.layers:
            x = layer(x, place, attend, linear, wanted if layer is self.layers[-1] else None)
        hidden: Tensor = self.norm(x)
        return hidden

    def logits(self, hidden: Tensor, linear: Linear = plain_linear) -> Tensor:
        """Vocabulary scores [..., n, V]: of the next token in a causal pass, of the same position in a noisy one."""
        return linear(hidden, self.diffusion_head.weight)
