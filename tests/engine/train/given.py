"""A small checkpoint and a file of chats, as a person would bring them."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from engine.train.recipe import Recipe
from engine.train.saving import save
from tests.engine.small import TINY, random_network, small_config

SHORT = Recipe(
    causal_steps=2, joint_steps=4, settle_steps=3, drafter_steps=3, batch=3, save_every=2, blocks=(8, 16),
    drafter_rate=0.02,
)  # fmt: skip
"""All stages in a few seconds."""


def checkpoint(folder: Path, dtype: torch.dtype = torch.float32, lora: bool = True) -> Path:
    """A random checkpoint with the shipped tokenizer."""
    network = random_network(small_config(vocab_size=1024), 3, lora=lora, spread=2.0)
    save(folder, network, TINY, dtype)
    return folder


def chats(path: Path, count: int = 7) -> Path:
    """Conversations of one and two answers."""
    lines = []
    for n in range(count):
        turns = [("user", f"Say {n}."), ("assistant", f"{n}, as you wish.")] * (1 + n % 3 // 2)
        said = [("system", "Be brief.")] * (n % 2) + turns
        lines.append(json.dumps({"messages": [{"role": role, "content": content} for role, content in said]}))
    path.write_text("\n".join(lines) + "\n")
    return path
