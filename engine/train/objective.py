"""The joint objective: one causal loss and one block-diffusion loss from a single dual-stream pass.

Losses are sums with counts; `Weighing` turns them into one number, by the counts of a whole optimiser step, so that adding
gradients over microbatches is the same as one large batch. Prompts are never masked, and scored only as next tokens where the
recipe's scope says so, which the published objective does not.
Source: Nemotron-Labs-Diffusion paper, sections 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor

from engine.model.network import Linear, Network, plain_linear
from engine.train.batches import Batch, Scope
from engine.train.masking import Noise, distant
from engine.train.streams import Noisy, Packed, causal_spans

DIFFUSION_WEIGHT = 0.3
SHARPNESS = 2.75
"""What the logits of a guess at a distance are multiplied by in the guarded loss."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Scored tokens of a whole step."""

    causal: int
    masked: int


@dataclass(frozen=True, slots=True)
class Losses:
    """Cross-entropies in nats, summed: over next tokens of answers, over those of prompts where they are in scope, and over
    masked tokens, the latter also divided by their mask chance (`scaled`) and as `guarded` has them.
    """

    causal: Tensor
    prompts: Tensor
    diffusion: Tensor
    scaled: Tensor
    guarded: Tensor


class Weighing(StrEnum):
    """How the two losses become one.

    `FAMILY`: (S_ar + 0.3 S_diff) / (n_ar + n_masked) with S_diff over the mask chance, the published global token average.
    `BALANCED`: mean causal loss plus mean diffusion loss, what a small model with little data learns fastest from.
    `GUARDED`: the same with the guarded diffusion loss: tokens that one step commits are guessed apart, so their errors add up,
    and a threshold keeps what it promises for the block only if guesses at a distance are claimed with less.
    """

    FAMILY = "family"
    BALANCED = "balanced"
    GUARDED = "guarded"

    def __call__(self, losses: Losses, counts: Counts) -> Tensor:
        """The part of the step's loss that these sums contribute."""
        if self is Weighing.FAMILY:
            return (losses.causal + DIFFUSION_WEIGHT * losses.scaled) / (counts.causal + counts.masked)
        masked = losses.guarded if self is Weighing.GUARDED else losses.diffusion
        return losses.causal / counts.causal + masked / max(1, counts.masked)


def causal_losses(
    network: Network, batch: Batch, linear: Linear = plain_linear, scope: Scope = Scope.ANSWERS
) -> tuple[Tensor, Tensor]:
    """The sums of the next-token loss over what is in scope, and over the answers."""
    said = batch.follows(scope)
    packed = Packed(batch.inside(), causal_spans(len(said), said.shape[1], said.device), said)
    positions = torch.arange(said.shape[1], device=said.device).expand_as(said)
    logits = packed.logits(network, batch.tokens, positions, linear)
    each = F.cross_entropy(logits, batch.tokens.roll(-1, dims=1)[said], reduction="none")
    return each.sum(), each[batch.follows()[said]].sum()


def joint_losses(
    network: Network, batch: Batch, noisy: Noisy, noise: Noise, linear: Linear = plain_linear, scope: Scope = Scope.ANSWERS
) -> Losses:
    """All sums from one pass; `noise` [b, m] lies over the places of `noisy`, `scope` is that of next tokens."""
    masked, said, length = noise.masked, batch.follows(scope), batch.tokens.shape[1]
    wanted = torch.cat((masked, said), dim=1)
    packed = Packed(noisy.real(batch), noisy.sees(length), wanted)
    shown = torch.where(masked, network.config.mask_token_id, noisy.tokens)
    logits = packed.logits(network, torch.cat((shown, batch.tokens), dim=1), noisy.positions(length), linear)
    targets = torch.cat((noisy.tokens, batch.tokens.roll(-1, dims=1)), dim=1)[wanted]
    guess = torch.cat((masked, torch.zeros_like(said)), dim=1)[wanted]
    each = F.cross_entropy(logits, targets, reduction="none")
    guesses, distance = each[guess], distant(masked, noisy.block)[masked]
    held = guarded(logits[guess], targets[guess], distance)
    nexts, answers = each[~guess], batch.follows()[said]
    causal, prompts = nexts[answers].sum(), nexts[~answers].sum()
    return Losses(causal, prompts, guesses.sum(), (guesses / noise.chance[masked]).sum(), held.sum())


def guarded(logits: Tensor, targets: Tensor, guessed: Tensor) -> Tensor:
    """Cross-entropies [k] of logits [k, V]; where `guessed` [k], of logits made sharper first.

    It is a proper loss, and its optimum claims, at temperature 1, 0.9 where a guess at a distance is right 997.6 times in 1000.
    So a block at a threshold is read from the left where it is hard, and several tokens at once where it is not.
    """
    return F.cross_entropy(logits * torch.where(guessed, SHARPNESS, 1.0)[:, None], targets, reduction="none")
