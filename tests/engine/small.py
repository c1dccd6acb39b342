"""Small checkpoints for tests: random ones of the family's architecture at toy size, and the trained one that ships."""

from __future__ import annotations

from pathlib import Path

import torch

import engine
from engine.config import ModelConfig, RopeConfig
from engine.model.network import Network
from engine.train.wiring import initialise

TINY = Path(engine.__path__[0]) / "tiny"


def small_config(vocab_size: int = 128, layers: int = 2) -> ModelConfig:
    """A shape whose heads * head_dim differs from its hidden size, as at 3B and 14B."""
    return ModelConfig(
        hidden_size=48,
        num_hidden_layers=layers,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        vocab_size=vocab_size,
        rms_norm_eps=1e-5,
        rope=RopeConfig(theta=1e6, factor=16.0, original_max_position=16384),
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=min(11, vocab_size - 2),
        mask_token_id=min(100, vocab_size - 1),
        block_size=32,
    )


def small_network(seed: int = 0, vocab_size: int = 128, layers: int = 2, lora: bool = True, spread: float = 8.0) -> Network:
    """Random weights spread wide enough that argmaxes vary; `lora` also fills the drafter's second factor."""
    return random_network(small_config(vocab_size, layers), seed, lora, spread)


def random_network(config: ModelConfig, seed: int = 0, lora: bool = True, spread: float = 8.0) -> Network:
    """The same for any shape."""
    network = initialise(config, seed, lora_rank=4)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("lora_b"):
                if lora:
                    parameter.normal_(std=0.3, generator=generator)
            elif parameter.ndim == 2:
                parameter.mul_(spread)
    return network.requires_grad_(False).eval()
