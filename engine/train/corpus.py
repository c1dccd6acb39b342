"""Training examples in chat form, and padded batches of them.

Promise: an example is a pure function of (seed, split) and a batch of (seed, step), whatever came before, so
a run can resume at any step. Nothing is truncated: a task too long for the batch is replaced by the next one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import Final

import torch
from torch import Tensor

from engine.tokenizer import Message, Role, Tokenizer
from engine.train.grammar import Split, Task, task

PAD: Final = 0

__all__ = ["PAD", "Batch", "Example", "Split", "batch", "batches", "encode", "example"]


@dataclass(frozen=True, slots=True)
class Example:
    """A whole conversation: `ids[:prompt_length]` is the prompt and assistant opening; the last id is eos."""

    ids: tuple[int, ...]
    prompt_length: int


@dataclass(frozen=True, slots=True)
class Batch:
    """`tokens` [batch, length] padded with PAD; `prompt_lengths` and `lengths` [batch]; all int64."""

    tokens: Tensor
    prompt_lengths: Tensor
    lengths: Tensor


def example(seed: int, split: Split, tokenizer: Tokenizer) -> Example:
    """The example of the task with this seed."""
    return encode(task(seed, split), tokenizer)


def encode(made: Task, tokenizer: Tokenizer) -> Example:
    """Prompt, answer and end of turn as ids."""
    prompt = tokenizer.render_chat([Message(Role.USER, made.prompt)])
    return Example((*prompt, *tokenizer.encode(made.answer), tokenizer.eos_id), len(prompt))


def batches(seed: int, split: Split, tokenizer: Tokenizer, *, size: int, length: int, start: int = 0) -> Iterator[Batch]:
    """Endless batches from step `start` on; `length` is the padded width and should hold nearly all."""
    for step in count(start):
        yield batch(seed, step, split, tokenizer, size=size, length=length)


def batch(seed: int, step: int, split: Split, tokenizer: Tokenizer, *, size: int, length: int) -> Batch:
    """The batch of this step."""
    rows = [_fitting(f"{seed}:{step}:{row}", split, tokenizer, length) for row in range(size)]
    tokens = torch.full((size, length), PAD, dtype=torch.int64)
    for row, made in enumerate(rows):
        tokens[row, : len(made.ids)] = torch.tensor(made.ids, dtype=torch.int64)
    prompts = torch.tensor([made.prompt_length for made in rows], dtype=torch.int64)
    lengths = torch.tensor([len(made.ids) for made in rows], dtype=torch.int64)
    return Batch(tokens, prompts, lengths)


def _fitting(place: str, split: Split, tokenizer: Tokenizer, length: int) -> Example:
    """The first task at this place that fits; bounded, so that an absurd `length` is an error, not a hang."""
    for attempt in range(64):
        digest = sha256(f"{place}:{attempt}".encode()).digest()
        made = example(int.from_bytes(digest[:8], "big"), split, tokenizer)
        if len(made.ids) <= length:
            return made
    raise ValueError(f"no example fits {length} tokens: choose a longer training sequence")
