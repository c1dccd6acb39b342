"""The joint objective: one causal loss and one block-diffusion loss from a single dual-stream pass.

Losses are sums with counts; `Weighing` turns them into one number, by the counts of a whole optimiser step, so that adding
gradients over microbatches is the same as one large batch. Prompts are never masked and never scored.
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
from engine.train.streams import Causal, DualStream, Noisy

DIFFUSION_WEIGHT = 0.3
SHARPNESS = 2.5
"""What the logits of a guess at a distance are multiplied by in the guarded loss."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Scored tokens of a whole step."""

    causal: int
    masked: int


@dataclass(frozen=True, slots=True)
class Losses:
    """Cross-entropies in nats, summed: over answer tokens and over masked tokens, the latter also divided by their mask chance
    (`scaled`) and as `focal` and `guarded` have them.
    """

    causal: Tensor
    diffusion: Tensor
    scaled: Tensor
    focal: Tensor
    guarded: Tensor


class Weighing(StrEnum):
    """How the two losses become one.

    `FAMILY`: (S_ar + 0.3 S_diff) / (n_ar + n_masked) with S_diff over the mask chance, the published global token average.
    `BALANCED`: mean causal loss plus mean diffusion loss, what a small model with little data learns fastest from.
    `MODEST`: the same with the focal diffusion loss: tokens that one step commits are guessed apart, so their errors add up,
    and a threshold keeps what it promises for the block only if single tokens are claimed with less.
    `GUARDED`: the same with the guarded one, which has that of guesses at a distance alone.
    """

    FAMILY = "family"
    BALANCED = "balanced"
    MODEST = "modest"
    GUARDED = "guarded"

    def __call__(self, losses: Losses, counts: Counts) -> Tensor:
        """The part of the step's loss that these sums contribute."""
        if self is Weighing.FAMILY:
            return (losses.causal + DIFFUSION_WEIGHT * losses.scaled) / (counts.causal + counts.masked)
        masked = {Weighing.MODEST: losses.focal, Weighing.GUARDED: losses.guarded}.get(self, losses.diffusion)
        return losses.causal / counts.causal + masked / max(1, counts.masked)


def causal_losses(
    network: Network, batch: Batch, linear: Linear = plain_linear, scope: Scope = Scope.ANSWERS
) -> tuple[Tensor, Tensor]:
    """The sums of the next-token loss over what is in scope, and over the answers."""
    length = batch.tokens.shape[1]
    positions = torch.arange(length, device=batch.tokens.device).expand_as(batch.tokens)
    hidden = network(batch.tokens, positions, Causal(), linear)
    scored, answers = batch.scored(scope)[:, 1:], batch.scored()[:, 1:]
    each = _causal(network, hidden, batch, scored, linear)
    return each.sum(), each[answers[scored]].sum()


def joint_losses(network: Network, batch: Batch, noisy: Noisy, noise: Noise, linear: Linear = plain_linear) -> Losses:
    """All sums from one pass; `noise` [b, m] lies over the places of `noisy`."""
    masked, length = noise.masked, batch.tokens.shape[1]
    places = masked.shape[1]
    shown = torch.where(masked, network.config.mask_token_id, noisy.tokens)
    both, attend = torch.cat((shown, batch.tokens), dim=1), DualStream(noisy.sees(length), places)
    hidden = network(both, noisy.positions(length), attend, linear)
    targets, guessed = noisy.tokens[masked], distant(masked, noisy.block)[masked]
    logits = network.logits(hidden[:, :places][masked], linear).float()
    each = F.cross_entropy(logits, targets, reduction="none")
    causal = _causal(network, hidden[:, places:], batch, batch.scored()[:, 1:], linear).sum()
    scaled = (each / noise.chance[masked]).sum()
    return Losses(causal, each.sum(), scaled, focal(each).sum(), guarded(logits, targets, guessed).sum())


def focal(losses: Tensor) -> Tensor:
    """Each cross-entropy times the probability that was not given to the truth, so that the optimum claims less than it knows:
    0.9 where it is right 98 times in 100 (Lin et al. 2017, section 3.2, gamma 1).
    """
    return losses * (1 - (-losses).exp())


def guarded(logits: Tensor, targets: Tensor, guessed: Tensor) -> Tensor:
    """Cross-entropies [k] of logits [k, V]; where `guessed` [k], of logits made sharper first.

    It is a proper loss, and its optimum claims, at temperature 1, 0.9 where a guess at a distance is right 996 times in 1000.
    So a block at a threshold is read from the left where it is hard, and several tokens at once where it is not.
    """
    return F.cross_entropy(logits * torch.where(guessed, SHARPNESS, 1.0)[:, None], targets, reduction="none")


def _causal(network: Network, clean: Tensor, batch: Batch, scored: Tensor, linear: Linear) -> Tensor:
    """The loss of predicting each scored token, scored [b, n - 1], from the clean row before it."""
    logits = network.logits(clean[:, :-1][scored], linear).float()
    return F.cross_entropy(logits, batch.tokens[:, 1:][scored], reduction="none")
