"""Adapters: they start as nothing, learn, and end up in the weights."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.model.checkpoint import released_names
from engine.model.network import Network, plain_linear
from engine.train.lora import ADAPTED, Adapters
from tests.engine.harness import causal_attend
from tests.engine.small import small_network

TOKENS = torch.randint(0, 90, (2, 9), generator=torch.Generator().manual_seed(1))


def logits(network: Network, linear: Adapters | None = None) -> Tensor:
    """A causal pass, adapted or not."""
    used = linear or plain_linear
    return network.logits(network(TOKENS, torch.arange(9).expand(2, 9), causal_attend, used), used)


def filled(network: Network) -> Adapters:
    """Adapters as if they had learned something."""
    adapters = Adapters(network, rank=3, seed=4)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for _, second in adapters.pairs.values():
            second.normal_(std=0.1, generator=generator)
    return adapters


def test_new_adapters_change_nothing() -> None:
    """Learning starts from the network as it is, bit for bit."""
    network = small_network()
    assert torch.equal(logits(network), logits(network, Adapters(network, 4, seed=1)))


def test_merged_weights_are_the_adapted_network() -> None:
    """Merging puts into the weights what the adapters added, and leaves nothing to add twice."""
    network = small_network(1, spread=2.0)
    adapters = filled(network)
    before, adapted = logits(network), logits(network, adapters)
    assert not torch.allclose(before, adapted, atol=1e-2)
    adapters.merge()
    assert torch.allclose(logits(network), adapted, atol=1e-3)
    assert torch.equal(logits(network), logits(network, adapters))


def test_every_projection_has_a_pair_under_its_released_name() -> None:
    """Seven pairs a layer, of the shapes of their weights, named as PEFT names them over the family's names."""
    network = small_network()
    tensors = Adapters(network, 3, seed=0).tensors()
    assert len(tensors) == 2 * 2 * len(ADAPTED)
    for name, weight in released_names(network):
        if name.removesuffix(".weight").endswith(ADAPTED):
            stem = f"base_model.model.{name.removesuffix('.weight')}"
            assert tensors[f"{stem}.lora_A.weight"].shape == (3, weight.shape[1])
            assert tensors[f"{stem}.lora_B.weight"].shape == (weight.shape[0], 3)


def test_halving_loses_nothing() -> None:
    """Frozen weights go to bfloat16 only where that is exact, and a merge brings float32 back."""
    network = small_network()
    layer = network.layers[0].get_submodule("mlp")
    exact = layer.get_parameter("up_proj.weight")
    with torch.no_grad():
        exact.copy_(exact.to(torch.bfloat16))
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    adapters = Adapters(network, 2, seed=0)
    adapters.halve()
    assert exact.dtype is torch.bfloat16 and layer.get_parameter("down_proj.weight").dtype is torch.float32
    adapters.merge()
    assert all(torch.equal(value, before[name]) and value.dtype is torch.float32 for name, value in network.named_parameters())
