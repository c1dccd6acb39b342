"""Low-rank adapters for a whole fine-tune: every projection of every layer learns a product of two thin matrices.

The network takes the function that multiplies as an argument (`Linear`), so an adapter is such a function and the network
stays as it is. These adapters end up in the weights, for every mode and row; the drafter LoRA is another thing, which only
draft rows feel. Source: Hu et al. 2021.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor, nn

from engine.model.network import Network
from engine.train.saving import adapter_document

ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SCALE = 2.0  # lora_alpha / r


class Adapters:
    """A pair A [r, K], B [N, r] for every projection weight [N, K] of `network`, by the name of its module."""

    def __init__(self, network: Network, rank: int, seed: int) -> None:
        """A is drawn from `seed`, B starts at zero, so that learning starts from the network as it is."""
        generator = torch.Generator().manual_seed(seed)
        self.rank = rank
        self.pairs: dict[str, tuple[nn.Parameter, nn.Parameter]] = {}
        self._weights = dict(_projections(network))
        self._of: dict[int, tuple[nn.Parameter, nn.Parameter]] = {}
        for name, weight in self._weights.items():
            rows, columns = weight.shape
            first = torch.randn(rank, columns, generator=generator) / columns**0.5
            pair = (nn.Parameter(first.to(weight.device)), nn.Parameter(torch.zeros(rows, rank, device=weight.device)))
            self.pairs[name] = self._of[id(weight)] = pair

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
        """The product of the adapted weight; weights without an adapter multiply as they are."""
        out = F.linear(x, weight)
        if (pair := self._of.get(id(weight))) is None:
            return out
        return out + SCALE * F.linear(F.linear(x, pair[0]), pair[1])

    def tensors(self) -> dict[str, Tensor]:
        """All of them, under the names of PEFT's files."""
        return {
            f"base_model.model.encoder.{name}.lora_{side}.weight": tensor
            for name, pair in self.pairs.items()
            for side, tensor in zip("AB", pair, strict=True)
        }

    def halve(self) -> None:
        """Hold the frozen weights in bfloat16 where that loses nothing, which halves them; products round them anyway."""
        for weight in self._weights.values():
            small = weight.detach().to(torch.bfloat16)
            if torch.equal(small.float(), weight):
                weight.data = small

    def merge(self) -> None:
        """Add every product to its weight, in float32, and begin again from zero."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                first, second = self.pairs[name]
                weight.data = weight.float() + SCALE * (second @ first)
                second.zero_()

    def document(self) -> dict[str, object]:
        """PEFT's `adapter_config.json`."""
        return adapter_document(self.rank, SCALE, ADAPTED)


def _projections(network: Network) -> list[tuple[str, nn.Parameter]]:
    """Every adapted weight with the name of its module."""
    named = ((name.removesuffix(".weight"), parameter) for name, parameter in network.named_parameters())
    return [(name, parameter) for name, parameter in named if name.rsplit(".", 1)[-1] in ADAPTED]
