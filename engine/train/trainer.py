"""Train a checkpoint in two stages: autoregressive, then the joint autoregressive and block-diffusion objective.

Everything follows from `Recipe.seed`: data, masks, initial weights, order. The trainer yields progress and never prints, so
a terminal, a test and a notebook can each show it in their own way. Prompts are never masked and never scored.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import torch
from torch import Tensor

from engine.config import ModelConfig, RopeConfig
from engine.model.checkpoint import initialise, save
from engine.model.network import Network
from engine.tokenizer import Tokenizer
from engine.train.corpus import example
from engine.train.grammar import Split
from engine.train.objective import Losses, Masking, causal_losses, corrupt, joint_losses
from engine.train.vocabulary import build as build_vocabulary

_SAVE_EVERY = 250
# Drawn per step: the demo decodes at 16, the other two lengths are served as well.
_BLOCKS = (16, 16, 16, 8, 32)


class Stage(StrEnum):
    """The two stages of a run."""

    CAUSAL = "ar"
    JOINT = "joint"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the outcome. Steps are optimiser steps of `batch` examples each."""

    causal_steps: int = 500
    joint_steps: int = 1500
    batch: int = 48
    peak_rate: float = 3e-3
    joint_rate: float = 2e-3
    seed: int = 1
    masking: Masking = field(default_factory=Masking)
    compiled: bool = True  # fuses the elementwise work of a layer; needs a C++ compiler and half a minute


@dataclass(frozen=True, slots=True)
class Progress:
    """One optimiser step, with losses as means in nats per token."""

    stage: Stage
    step: int
    steps: int
    causal_loss: float
    diffusion_loss: float
    tokens_per_second: float


def tiny_config(tokenizer: Tokenizer) -> ModelConfig:
    """The shipped shape: 2.1 M parameters in the family's architecture."""
    return ModelConfig(
        hidden_size=192,
        num_hidden_layers=4,
        intermediate_size=512,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=32,
        vocab_size=1024,
        rms_norm_eps=1e-5,
        rope=RopeConfig(theta=1e6, factor=16.0, original_max_position=16384),
        max_position_embeddings=1024,
        bos_token_id=1,
        eos_token_id=tokenizer.eos_id,
        mask_token_id=tokenizer.mask_id,
        block_size=32,
    )


def train(recipe: Recipe, out: Path) -> Iterator[Progress]:
    """Run both stages and leave a loadable checkpoint in `out`; also saves every few hundred steps."""
    torch.manual_seed(recipe.seed)
    build_vocabulary(out)
    tokenizer = Tokenizer.load(out)
    network = initialise(tiny_config(tokenizer), recipe.seed)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("lora_" not in name)
    save(out, network)
    if recipe.compiled and shutil.which("g++"):
        for layer in network.layers:
            layer.compile(dynamic=True)
    yield from _stage(Stage.CAUSAL, network, tokenizer, recipe, out)
    yield from _stage(Stage.JOINT, network, tokenizer, recipe, out)


def _stage(stage: Stage, network: Network, tokenizer: Tokenizer, recipe: Recipe, out: Path) -> Iterator[Progress]:
    steps = recipe.causal_steps if stage is Stage.CAUSAL else recipe.joint_steps
    peak = recipe.peak_rate if stage is Stage.CAUSAL else recipe.joint_rate
    offset = 0 if stage is Stage.CAUSAL else recipe.causal_steps
    optimiser = _optimiser(network, peak)
    generator = torch.Generator().manual_seed(recipe.seed * 2 + (stage is Stage.JOINT))
    for step in range(steps):
        began = time.monotonic()
        batch = _batch(tokenizer, recipe, offset + step)
        for group in optimiser.param_groups:
            group["lr"] = peak * _schedule(step, steps)
        losses = _losses(stage, network, batch, recipe.masking, generator)
        loss = losses.balanced() if stage is Stage.JOINT else losses.causal_sum / losses.causal_tokens
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == steps:
            save(out, network)
        yield _progress(stage, step, steps, losses, batch.tokens.numel() / (time.monotonic() - began))


@dataclass(frozen=True, slots=True)
class _Batch:
    """tokens int64 [batch, n]; answer and maskable boolean [batch, n]: scored causally, open to masking."""

    tokens: Tensor
    answer: Tensor
    ends: Tensor

    def maskable(self, block: int) -> Tensor:
        """The answer and the end tokens that fill its last block: what decoding will find masked."""
        index = torch.arange(self.tokens.shape[1])[None, :]
        return self.answer | ((index >= self.ends[:, None]) & (index < self.ends[:, None] + block))


def _batch(tokenizer: Tokenizer, recipe: Recipe, step: int) -> _Batch:
    """Examples of one step, padded with end tokens so that padding tells a noisy block nothing about the answer."""
    first = recipe.seed * 1_000_000_000 + step * recipe.batch
    rows = [example(first + n, Split.TRAIN, tokenizer) for n in range(recipe.batch)]
    length = max(len(row.ids) for row in rows)
    tokens = torch.full((len(rows), length), tokenizer.eos_id)
    answer = torch.zeros(len(rows), length, dtype=torch.bool)
    for n, row in enumerate(rows):
        tokens[n, : len(row.ids)] = torch.tensor(row.ids)
        answer[n, row.prompt_length : len(row.ids)] = True
    return _Batch(tokens, answer, torch.tensor([len(row.ids) for row in rows]))


def _losses(stage: Stage, network: Network, batch: _Batch, masking: Masking, generator: torch.Generator) -> Losses:
    if stage is Stage.CAUSAL:
        return causal_losses(network, batch.tokens, batch.answer)
    block = _BLOCKS[int(torch.randint(len(_BLOCKS), (), generator=generator))]
    maskable = batch.maskable(block)
    first = int(maskable.any(dim=0).nonzero()[0])
    masked = corrupt(maskable, block, masking, generator)
    return joint_losses(network, batch.tokens, batch.answer, masked, block, start=first // block * block)


def _optimiser(network: Network, rate: float) -> torch.optim.AdamW:
    """AdamW without decay on vectors and embeddings."""
    trained = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
    decayed = [value for name, value in trained if value.ndim == 2 and "embed" not in name]
    plain = [value for name, value in trained if value.ndim != 2 or "embed" in name]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95))


def _schedule(step: int, steps: int, warmup: int = 100) -> float:
    """Linear warm-up, then cosine to 2 % of the peak."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def _progress(stage: Stage, step: int, steps: int, losses: Losses, rate: float) -> Progress:
    return Progress(
        stage,
        step + 1,
        steps,
        float(losses.causal_sum.detach()) / max(1, losses.causal_tokens),
        float(losses.diffusion_sum.detach()) / max(1, losses.masked_tokens),
        rate,
    )
