"""First weights: drawn from a seed, and able to copy by an induction circuit of two layers (Olsson et al. 2022).

Nearly all that the exercises ask for is copied from the prompt. A network of this size that starts from noise finds a circuit
for that only after some ten million tokens; wired in, it is merely refined. Layer 0 tells every place the token before it
(its scores depend on distance alone, and are highest at one); layer 1 looks for places whose token before is this one, and
passes on the token there; the head says what is passed on. All other weights stay as they were drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from engine.config import ModelConfig
from engine.model.network import Attention, Network

SHARED: Final = 0.5
"""Of an embedding, the part that all tokens share: what scores by distance alone are made of."""
NEAR: Final = 4
"""Rotary pairs that tell distances, from the fastest; those behind the next two hardly turn: they match by content."""
BEFORE: Final = 28.0
"""Score, before the softmax, of the place before."""
MATCH: Final = 8.0
"""Score of a place that the same token stands before."""
SAID: Final = 14.0
"""Logit of a token that is passed on whole."""


@dataclass(frozen=True, slots=True)
class _Room:
    """Orthonormal directions [H, *] of the residual stream: of every token, of what a token is matched by (a part of `passed`),
    of the token before, of what is passed on (a part of `tokens`), and of what is to be said."""

    shared: Tensor
    tokens: Tensor
    read: Tensor
    told: Tensor
    passed: Tensor
    said: Tensor

    @classmethod
    def drawn(cls, hidden: int, matched: int, heads: int, generator: torch.Generator) -> _Room:
        """`matched` directions to match by and `heads` to pass on."""
        basis = torch.linalg.qr(torch.randn(hidden, hidden, generator=generator)).Q
        shared, told, said, tokens = basis.split((1, matched, heads, hidden - 1 - matched - heads), dim=1)
        return cls(shared[:, 0], tokens, tokens[:, :matched], told, tokens[:, :heads], said)


def initialise(config: ModelConfig, seed: int, lora_rank: int = 16) -> Network:
    """Random weights, normal with deviation 0.02 and output projections scaled by depth; the drafter LoRA starts at zero."""
    generator = torch.Generator().manual_seed(seed)
    network = Network(config, lora_rank)
    residual = 0.02 / (2 * config.num_hidden_layers) ** 0.5
    for name, parameter in network.named_parameters():
        if name.endswith(("lora_b", "norm.weight", "layernorm.weight")):
            continue
        deviation = residual if name.endswith(("o_proj.weight", "down_proj.weight")) else 0.02
        torch.nn.init.normal_(parameter, std=deviation, generator=generator)
    return network


def wire(network: Network, generator: torch.Generator) -> None:
    """Write the circuit into `network`, in place. Needs two layers and a hidden size of some three times all key heads."""
    hidden, size, groups = network.config.hidden_size, network.config.head_dim, network.config.num_key_value_heads
    slow = torch.zeros(size, dtype=torch.bool)
    slow[NEAR + 2 : size // 2] = slow[size // 2 + NEAR + 2 :] = True
    room = _Room.drawn(hidden, groups * int(slow.sum()), groups * size, generator)
    first, second, *_ = (module for module in network.modules() if isinstance(module, Attention))
    with torch.no_grad():
        tokens = torch.randn(network.config.vocab_size, room.tokens.shape[1], generator=generator)
        tokens = tokens / tokens.norm(dim=1, keepdim=True)
        own = (1 - SHARED**2) ** 0.5 * tokens @ room.tokens.T + SHARED * room.shared
        network.embed_tokens.weight.copy_(own * hidden**0.5 / 2)
        _near(first, network.frequencies.float(), room, slow)
        _matching(second, room, slow)
        spoken = tokens[:, : groups * size]
        network.diffusion_head.weight.copy_(SAID / hidden**0.5 * spoken / spoken.norm(dim=1, keepdim=True) @ room.said.T)


def _near(attention: Attention, frequencies: Tensor, room: _Room, slow: Tensor) -> None:
    """Every place is told what the token before it is matched by."""
    size, hidden = len(slow), len(room.shared)
    groups, folds = _heads(attention)
    each = (BEFORE * size**0.5 / NEAR) ** 0.5 / (hidden**0.5 * SHARED)
    key, query = torch.zeros(size), torch.zeros(size)
    key[:NEAR] = each
    # Turned back by one step, so that scores peak at distance one.
    query[:NEAR], query[size // 2 : size // 2 + NEAR] = each * frequencies[:NEAR].cos(), -each * frequencies[:NEAR].sin()
    attention.q_proj.weight.copy_(torch.outer(query.repeat(groups * folds), room.shared))
    attention.k_proj.weight.copy_(torch.outer(key.repeat(groups), room.shared))
    attention.v_proj.weight.copy_(_spread(room.read, slow, groups))
    attention.o_proj.weight.copy_(_together(_spread(room.told, slow, groups).T, size, groups, folds))


def _matching(attention: Attention, room: _Room, slow: Tensor) -> None:
    """Every place looks for where its own token is told to stand before, and passes on the token that it finds."""
    size = len(slow)
    groups, folds = _heads(attention)
    strength = (MATCH * size**0.5) ** 0.5 / 3
    queries = _spread(room.read, slow, groups).view(groups, 1, size, -1).expand(-1, folds, -1, -1).flatten(0, 2)
    attention.q_proj.weight.copy_(strength * queries)
    attention.k_proj.weight.copy_(strength * _spread(room.told, slow, groups))
    attention.v_proj.weight.copy_(room.passed.T)
    attention.o_proj.weight.copy_(2 * _together(room.said, size, groups, folds))


def _heads(attention: Attention) -> tuple[int, int]:
    """Key heads, and query heads of each."""
    groups = attention.k_proj.weight.shape[0] // attention.head_dim
    return groups, attention.q_proj.weight.shape[0] // attention.k_proj.weight.shape[0]


def _spread(directions: Tensor, slow: Tensor, groups: int) -> Tensor:
    """[G D, H] from [H, matched]: each key head reads its share of them into its slow dimensions."""
    made = torch.zeros(groups, len(slow), directions.shape[0])
    made[:, slow] = directions.T.view(groups, -1, directions.shape[0])
    return made.flatten(0, 1)


def _together(into: Tensor, size: int, groups: int, folds: int) -> Tensor:
    """[H, Hq D] from [H, G D]: the query heads of a group have one value, and write it together."""
    return (into.view(-1, groups, 1, size) / folds).expand(-1, -1, folds, -1).flatten(1)
