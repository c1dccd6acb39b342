"""The kernels together are the network."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.forward import run
from engine.model.rope import inverse_frequencies, query_scale, rotation
from engine.model.weights import LayerWeights, Weights
from engine.numeric import Strict
from engine.pages import PagePool
from engine.plan import Flag, Lora, Plan, clean, noisy, quadratic
from kernels.head import Asked, Picked, pick
from kernels.linear import tiled_linear
from kernels.lora import gated_lora
from kernels.norm import add_rms_norm
from kernels.paged import paged_attention
from kernels.rotary import rotate_and_keep
from kernels.swiglu import silu_mul
from tests.engine.small import small_network
from tests.engine.test_plan import packed
from tests.kernels.interpreted.planned import rows_of


class KernelPass:
    """One pass over a plan in which every operation is a kernel of this room; pages keep what the clean rows write."""

    def __init__(self, weights: Weights, plan: Plan, pool: PagePool) -> None:
        self._weights, self._pool, self._rows = weights, pool, rows_of(plan)
        config, place = weights.config, torch.arange(int(plan.position.max()) + 1)
        angles = rotation(inverse_frequencies(config.rope, config.head_dim), place)
        self._turns = torch.stack([part[:, 0, : config.head_dim // 2] for part in angles], 1).contiguous()
        self._scales = query_scale(config.rope, place)
        self._position, self._slot = (torch.from_numpy(field).to(torch.int32) for field in (plan.position, plan.slot))
        self._gate = torch.from_numpy((plan.field(2) & Flag.LORA) != 0).float()
        self._token, self._wanted = torch.from_numpy(plan.token), torch.from_numpy(plan.wanted)

    def picked(self) -> Picked:
        """What the wanted rows pick, greedily."""
        x = self._weights.embedding[self._token]
        found = torch.zeros_like(x)
        for index, layer in enumerate(self._weights.layers):
            x, found = self._layer(index, layer, x, found)
        _, hidden = add_rms_norm(x, found, self._weights.norm, self._weights.config.rms_norm_eps)
        nothing = torch.full((len(self._wanted),), -1, dtype=torch.int32)
        asked = Asked(self._weights.config.mask_token_id, nothing)
        return pick(hidden[self._wanted], self._weights.head, asked)

    def _layer(self, index: int, layer: LayerWeights, x: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """The residual stream after the layer's attention, and what its feed-forward block adds."""
        eps = self._weights.config.rms_norm_eps
        x, normed = add_rms_norm(x, found, layer.input_norm, eps)
        pages, size = self._pool.kv[index], self._weights.config.head_dim
        heads = tiled_linear(normed, layer.qkv).view(len(x), -1, size)
        turned = rotate_and_keep(heads, self._turns, self._scales, self._position, self._slot, pages)
        mixed = paged_attention(turned, pages, self._rows)
        out = tiled_linear(mixed, layer.out)
        if layer.lora is not None:
            out = gated_lora(out, mixed, *layer.lora, self._gate)
        x, normed = add_rms_norm(x, out, layer.post_norm, eps)
        return x, tiled_linear(silu_mul(tiled_linear(normed, layer.gate_up)), layer.down)


def test_the_kernels_together_are_the_network() -> None:
    """A pass of mixed steps by kernels alone picks the tokens of the engine's strict pass, with its logits and pages."""
    # One layer of the network is all of its arithmetic, and the interpreter is slow.
    weights, arithmetic = Weights(small_network(layers=1), torch.float32), Strict()
    steps = [(70, clean((5, 9, 33))), (40, noisy((3, 100, 100, 100), Lora.ON)), (9, quadratic((4, 8), 100, Lora.ON))]
    plan, pool, _ = packed(steps)
    _, other, _ = packed(steps)
    torch.testing.assert_close(pool.kv, other.kv, rtol=0, atol=0)
    logits = run(weights, arithmetic, plan, other)
    found = KernelPass(weights, plan, pool).picked()
    torch.testing.assert_close(pool.kv, other.kv, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.lse, logits.logsumexp(-1), rtol=1e-3, atol=1e-3)
    logits[:, weights.config.mask_token_id] = -torch.inf
    assert torch.equal(found.token.long(), logits.argmax(-1))
    torch.testing.assert_close(found.logit, logits.amax(-1), rtol=1e-3, atol=1e-3)
