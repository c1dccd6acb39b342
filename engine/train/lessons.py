"""What one optimiser step has to learn, cut into microbatches that each know their share of the step's loss.

Rows, noise and block length of a step follow from (seed, stage, step, row), so a step is the same whether the run was
interrupted before it or not, and however many rows share a pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

import torch
from torch import Tensor

from engine.model.network import Linear, Network
from engine.train.batches import Batch, Scope, grouped
from engine.train.corpus import Example
from engine.train.drafter import drafter_losses
from engine.train.masking import Masking, Noise, corrupt
from engine.train.objective import Counts, Weighing, causal_losses, joint_losses
from engine.train.recipe import Recipe, Stage
from engine.train.streams import Noisy

PROMPTS_WEIGH: Final = 0.25
"""Of a prompt's tokens beside an answer's, where a stage learns both: prompts teach to copy, and are not what is asked for."""


@dataclass(frozen=True, slots=True)
class Learned:
    """`loss`: this microbatch's part of the step's loss; `sums`: what the figures of the step are sums of."""

    loss: Tensor
    sums: Mapping[str, Tensor]


class Lesson(Protocol):
    """One microbatch."""

    def learn(self, network: Network, linear: Linear) -> Learned:
        """The forward pass."""


@dataclass(frozen=True, slots=True)
class Step:
    """All lessons of one step; `counts` say what the figures are means over, `tokens` how many the rows have."""

    lessons: tuple[Lesson, ...]
    counts: Mapping[str, int]
    tokens: int


@dataclass(frozen=True, slots=True)
class CausalLesson:
    """Next tokens of what is in scope; the whole step has so many of `answers` and of `prompts`."""

    batch: Batch
    scope: Scope
    answers: int
    prompts: int

    def learn(self, network: Network, linear: Linear) -> Learned:
        """The mean over the step's answer tokens, and a part of that over its prompt tokens; the figure is the former."""
        found, answers = causal_losses(network, self.batch, linear, self.scope)
        prompts = (found - answers) / max(1, self.prompts)
        return Learned(answers / self.answers + PROMPTS_WEIGH * prompts, {"ar": answers.detach()})


@dataclass(frozen=True, slots=True)
class JointLesson:
    """Next tokens of what is in scope, and masked tokens; the step has so many of `prompts`."""

    batch: Batch
    noisy: Noisy
    noise: Noise
    weighing: Weighing
    counts: Counts
    scope: Scope
    prompts: int

    def learn(self, network: Network, linear: Linear) -> Learned:
        """Both, as the recipe weighs them, and a part of the mean over the prompts."""
        found = joint_losses(network, self.batch, self.noisy, self.noise, linear, self.scope)
        loss = self.weighing(found, self.counts) + PROMPTS_WEIGH * found.prompts / max(1, self.prompts)
        return Learned(loss, {"ar": found.causal.detach(), "diffusion": found.diffusion.detach()})


@dataclass(frozen=True, slots=True)
class DrafterLesson:
    """Blocks to draft; `seeds` decide what is drawn for each row."""

    batch: Batch
    noisy: Noisy
    seeds: tuple[int, ...]
    blocks: int

    def learn(self, network: Network, linear: Linear) -> Learned:
        """The mean over the whole step's blocks."""
        found = drafter_losses(network, self.batch, self.noisy, self.seeds, linear)
        return Learned(found.total / self.blocks, {"drafter": found.total.detach(), "accepted": found.accepted})


def key(*parts: object) -> int:
    """63 bits that follow from `parts`."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def step_of(stage: Stage, rows: Sequence[Example], recipe: Recipe, number: int, end_token: int, device: torch.device) -> Step:
    """The lessons of step `number` of a stage over its rows."""
    tokens = sum(len(row.ids) for row in rows)
    if stage is Stage.CAUSAL:
        return _causal(rows, recipe, end_token, device, tokens)
    seed = key(recipe.seed, stage, number)
    block = recipe.blocks[seed % len(recipe.blocks)]
    if stage is Stage.DRAFTER:
        return _drafter(rows, recipe, block, seed, end_token, device, tokens)
    return _joint(stage, rows, recipe, block, seed, end_token, device, tokens)


def _causal(rows: Sequence[Example], recipe: Recipe, end_token: int, device: torch.device, tokens: int) -> Step:
    answers, prompts = _said(rows)
    groups = grouped([len(row.ids) for row in rows], recipe.places)
    batches = [Batch.of([rows[index] for index in group], end_token).to(device) for group in groups]
    return Step(tuple(CausalLesson(batch, recipe.scope, answers, prompts) for batch in batches), {"ar": answers}, tokens)


def _said(rows: Sequence[Example]) -> tuple[int, int]:
    """How many next tokens there are of answers and of prompts, whose first follows nothing."""
    return sum(len(row.ids) - row.prompt_length for row in rows), sum(row.prompt_length - 1 for row in rows)


def _joint(
    stage: Stage,
    rows: Sequence[Example],
    recipe: Recipe,
    block: int,
    seed: int,
    end_token: int,
    device: torch.device,
    tokens: int,
) -> Step:
    """Blocks lie on multiples of their length in the text, as in the family's training, so answers meet them anywhere."""
    starts = [row.prompt_length // block * block for row in rows]
    prepared = []
    for group in grouped(_places(rows, starts, block, recipe.copies), recipe.places):
        batch, noisy = _streams(rows, starts, group, block, end_token, recipe.copies)
        noise = [
            _noise(opened.view(recipe.copies, -1), block, recipe.noise(stage), key(seed, index))
            for opened, index in zip(noisy.opened, group, strict=True)
        ]
        prepared.append((batch, noisy, Noise.stacked(noise)))
    answers, prompts = _said(rows)
    counts = Counts(answers, masked=sum(int(noise.masked.sum()) for _, _, noise in prepared))
    weighing, scope = recipe.weighs(stage), recipe.scope
    lessons = tuple(
        JointLesson(batch.to(device), noisy.to(device), noise.to(device), weighing, counts, scope, prompts)
        for batch, noisy, noise in prepared
    )
    return Step(lessons, {"ar": counts.causal, "diffusion": counts.masked}, tokens)


def _noise(copies: Tensor, block: int, masking: Masking, seed: int) -> Noise:
    """Noise for one row; every copy of what is opened, [copies, places], draws its own."""
    generator = torch.Generator().manual_seed(seed)
    return Noise.joined([corrupt(opened, block, masking, generator) for opened in copies])


def _drafter(
    rows: Sequence[Example], recipe: Recipe, block: int, seed: int, end_token: int, device: torch.device, tokens: int
) -> Step:
    """Blocks begin anywhere in the first `block` tokens of an answer, as rounds of speculation do."""
    starts = [
        row.prompt_length + key(seed, index) % min(block, len(row.ids) - row.prompt_length) for index, row in enumerate(rows)
    ]
    blocks = sum(-(-(len(row.ids) - start) // block) for row, start in zip(rows, starts, strict=True))
    lessons = []
    for group in grouped(_places(rows, starts, block), recipe.places):
        batch, noisy = _streams(rows, starts, group, block, end_token)
        seeds = tuple(key(seed, "draws", index) for index in group)
        lessons.append(DrafterLesson(batch.to(device), noisy.to(device), seeds, blocks))
    return Step(tuple(lessons), {"drafter": blocks, "accepted": blocks}, tokens)


def _streams(
    rows: Sequence[Example], starts: Sequence[int], group: Sequence[int], block: int, end_token: int, copies: int = 1
) -> tuple[Batch, Noisy]:
    batch = Batch.of([rows[index] for index in group], end_token)
    return batch, Noisy.of(batch, torch.tensor([starts[index] for index in group]), block, copies)


def _places(rows: Sequence[Example], starts: Sequence[int], block: int, copies: int = 1) -> list[int]:
    """Places that each row takes in both halves."""
    noisy = [-(-(len(row.ids) - start) // block) * block for row, start in zip(rows, starts, strict=True)]
    return [len(row.ids) + copies * places for row, places in zip(rows, noisy, strict=True)]
