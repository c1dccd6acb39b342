"""Laws of the decoding weights: they are the network, rearranged."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.library import hidden_states
from engine.model.network import Network
from engine.model.rope import turns
from engine.model.weights import Weights
from engine.numeric import fast
from engine.train.wiring import initialise
from tests.engine.harness import causal_attend
from tests.engine.small import small_config, small_network

ROWS = 41
PLAIN = fast(torch.float32)


def causal(network: Network) -> Weights:
    """The network's weights, in float32."""
    return Weights(network, torch.float32)


def attend(layer: int, rotated: Tensor) -> Tensor:
    """Plain causal attention over rows [R, Hq + 2 Hk, D] that came side by side."""
    query, key, value = rotated[:, :4], rotated[:, 4:6], rotated[:, 6:]
    return causal_attend(layer, query, key, value).flatten(1)


def both(network: Network, positions: Tensor, gate: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Hidden states by the rearranged weights and by the network's own definition."""
    tokens = torch.arange(ROWS) * 7 % 99
    found = hidden_states(causal(network), PLAIN, tokens, positions, attend, None if gate is None else gate[:, None])
    return found, network(tokens, positions, causal_attend, draft_gate=gate)


def far_network(original: int) -> Network:
    """A small network whose original context is so short that the query scale matters."""
    config = small_config()
    config = replace(config, rope=replace(config.rope, original_max_position=original))
    network = initialise(config, 3, lora_rank=4)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    return network.requires_grad_(False).eval()


@pytest.mark.parametrize("seed", range(4))
def test_the_weights_are_the_network(seed: int) -> None:
    """A causal pass gives the hidden states of `Network.forward`, to rounding."""
    torch.testing.assert_close(*both(small_network(seed), torch.arange(ROWS)), rtol=1e-4, atol=1e-4)


def test_the_lora_gate_is_per_row() -> None:
    """Any pattern of the gate gives what the network gives, and an open gate moves exactly the rows that can feel it."""
    network = small_network(1)
    gate = (torch.arange(ROWS) % 3 == 1).float()
    found, wanted = both(network, torch.arange(ROWS), gate)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    off, _ = both(network, torch.arange(ROWS))
    assert torch.equal(found[0], off[0]) and not torch.allclose(found[1], off[1])


def test_a_lora_that_adds_nothing_is_left_out() -> None:
    """Where the second factor is zero an open gate changes no bit, and no product is kept for it."""
    network = small_network(1, lora=False)
    found, _ = both(network, torch.arange(ROWS), torch.ones(ROWS))
    off, _ = both(network, torch.arange(ROWS))
    assert torch.equal(found, off) and all(layer.lora is None for layer in causal(network).layers)


@pytest.mark.parametrize("start", [0, 30, 63, 64, 100, 1000])
def test_positions_beyond_the_original_context(start: int) -> None:
    """Above `original_max_position` queries carry the llama-4 scale, as in the network, also across its steps."""
    network = far_network(64)
    found, wanted = both(network, torch.arange(start, start + ROWS))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    unscaled, _ = both(far_network(1 << 20), torch.arange(start, start + ROWS))
    assert torch.isfinite(unscaled).all()


def test_a_rotation_does_not_depend_on_its_company() -> None:
    """In whole tiles of rows a position is turned by the same bits wherever it stands and whatever stands beside it."""
    network = far_network(64)
    positions = torch.randint(0, 4096, (3 * 32,), generator=torch.Generator().manual_seed(0))
    together = turns(network.config, network.frequencies, positions, torch.float32)
    for place, position in enumerate(positions.tolist()):
        alone = turns(network.config, network.frequencies, torch.full((32,), position), torch.float32)
        assert torch.equal(alone, together[:, place : place + 1].expand_as(alone))
