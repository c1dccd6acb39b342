"""The compiled pass over a plan: the whole network in one call (`kernels/cpu`), products in its dtype with float32 sums.

A row's bits depend on its own sequence alone, so here, as under `strict`, company changes nothing; a test asks for it.
"""

from __future__ import annotations

import numpy as np
import torch

from engine.config import ModelConfig
from engine.forward import HostPass
from engine.model.network import LORA_SCALE, Layer, Network
from engine.model.rope import half_turns
from engine.pages import PagePool
from engine.plan import Plan
from engine.sampling import Draw, Logits
from kernels.cpu import forward as compiled


class CompiledPass(HostPass):
    """A network's weights as the compiled pass wants them."""

    def __init__(self, network: Network, dtype: torch.dtype) -> None:
        """Raises ValueError where it is not `usable`."""
        self._network = network
        self._forward = compiled.Forward(
            _shape(network.config),
            dtype,
            network.embed_tokens.weight,
            [_layer(layer) for layer in network.layers if isinstance(layer, Layer)],
            network.norm.weight,
            network.diffusion_head.weight,
        )
        self.kernels = f"compiled {self._forward.digest}"
        self.draw: Draw = self._forward.draw
        self.padded = int  # as many as are needed
        self._known = 0
        self._said = _Said(0, network.config)

    @staticmethod
    def usable(config: ModelConfig, dtype: torch.dtype) -> bool:
        """Whether processor, compiler and sizes allow it."""
        return compiled.Forward.usable(_shape(config), dtype)

    def logits(self, plan: Plan, pool: PagePool) -> Logits:
        """The logits of the wanted rows, in row order; they are overwritten by the next pass."""
        # What torch would refuse by itself; compiled code reads whatever lies there.
        if plan.token.view(np.uint64).max() >= self._network.config.vocab_size:
            raise IndexError("a token id is not in the vocabulary")
        if max(group.frame.group_size for group in plan.groups) > compiled.MOST_NOISY:
            raise ValueError(f"at most {compiled.MOST_NOISY} noisy rows can see each other: ask for shorter blocks")
        furthest = int(plan.position.max())
        if furthest >= self._known:
            self._tell(furthest)
        gate = torch.from_numpy(plan.gated) if plan.lora else None
        groups = [
            (group.start, group.count, group.frame.size, group.frame.clean, group.frame.group_size, group.sequence)
            for group in plan.groups
        ]
        rows = compiled.Rows(
            token=torch.from_numpy(plan.token),
            position=torch.from_numpy(plan.position),
            limit=torch.from_numpy(plan.limit),
            slot=torch.from_numpy(plan.slot),
            wanted=torch.from_numpy(plan.wanted),
            tables=torch.from_numpy(plan.tables),
            groups=torch.from_numpy(np.array(groups)),
            gate=gate,
        )
        if self._said.rows < len(plan.wanted):
            self._said = _Said(len(plan.wanted), self._network.config)
        self._forward(rows, pool.kv, self._said.mask_id, self._said.room)
        return self._said.first(len(plan.wanted), self.draw)

    def _tell(self, furthest: int) -> None:
        """Rotations up to this position, and some more."""
        cosines, sines, scales = half_turns(self._network.frequencies, self._network.config.rope, furthest)
        self._known = len(scales)
        self._forward.positions(cosines, sines, scales)


class _Said:
    """Where passes put what they say of `rows` wanted rows at most: one after the other in the same place."""

    def __init__(self, rows: int, config: ModelConfig) -> None:
        self.rows, self.mask_id = rows, config.mask_token_id
        self.room = compiled.Said.of(rows, config.vocab_size)
        self._raw, self._ids = self.room.logits.numpy(), self.room.outcome.numpy()
        self._figures = self._ids.view(np.float32)

    def first(self, rows: int, draw: Draw) -> Logits:
        """What was said of the first so many."""
        figures = self._figures[:rows]
        best, logprob, peak, mass = self._ids[:rows, 0], figures[:, 1], figures[:, 2], figures[:, 3]
        return Logits(self._raw[:rows], self.mask_id, best, logprob, peak, mass, draw)


def _layer(layer: Layer) -> compiled.Layer:
    attention, mlp = layer.self_attn, layer.mlp
    out, lora = attention.o_proj.weight.float(), LORA_SCALE * attention.lora_b.float() @ attention.lora_a.float()
    return compiled.Layer(
        input_norm=layer.input_layernorm.weight,
        qkv=torch.cat((attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight)),
        out=out,
        drafting=out + lora if bool(lora.any()) else None,
        post_norm=layer.post_attention_layernorm.weight,
        gate=mlp.gate_proj.weight,
        up=mlp.up_proj.weight,
        down=mlp.down_proj.weight,
    )


def _shape(config: ModelConfig) -> compiled.Shape:
    return compiled.Shape(
        config.hidden_size,
        config.num_attention_heads,
        config.num_key_value_heads,
        config.head_dim,
        config.intermediate_size,
        config.vocab_size,
        config.rms_norm_eps,
    )
