"""Laws of the first weights: they copy before anything was learnt, and leave everything else as it was drawn."""

from __future__ import annotations

import pytest
import torch

from engine.model.network import Network
from engine.tokenizer import Tokenizer
from engine.train.origin import tiny_config
from engine.train.wiring import initialise, wire
from tests.engine.small import TINY
from tests.engine.train.rows import causal_logits


@pytest.fixture(scope="module")
def wired() -> Network:
    """The shipped shape, wired and never trained."""
    network = initialise(tiny_config(Tokenizer.load(TINY), 1024), seed=1)
    wire(network, torch.Generator().manual_seed(1))
    return network


def copied(network: Network, between: int, seed: int) -> float:
    """The share of a random text of 100 tokens that is foretold where it comes again, so many tokens later."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(128, network.config.vocab_size, (100 + between,), generator=generator)
    with torch.no_grad():
        foretold = causal_logits(network, torch.cat((drawn, drawn[:100]))).argmax(dim=-1)
    return float((foretold[-100:-1] == drawn[1:100]).float().mean())


@pytest.mark.parametrize("between", [0, 50, 300])
def test_what_was_read_is_said_again(wired: Network, between: int) -> None:
    """More than half of a random text is foretold when it is read again; unwired weights know nothing of it."""
    plain = initialise(wired.config, seed=1)
    assert sum(copied(wired, between, seed) for seed in range(5)) / 5 > 0.5
    assert copied(plain, between, 0) < 0.1


def test_only_the_circuit_is_written(wired: Network) -> None:
    """Norms, feed-forward weights, the layers above the second and the drafter LoRA are those that were drawn."""
    plain = dict(initialise(wired.config, seed=1).named_parameters())
    changed = {name for name, value in wired.named_parameters() if not torch.equal(value, plain[name])}
    projections = {f"layers.{layer}.self_attn.{side}_proj.weight" for layer in (0, 1) for side in "qkvo"}
    assert changed == {"embed_tokens.weight", "diffusion_head.weight"} | projections
