"""The joint objective: one causal loss and one block-diffusion loss from a single dual-stream pass.

The input is [noisy x_t | clean x_0], both with positions 0..n-1. The clean half is strictly causal, so its keys are the
ones that decoding keeps; a noisy row sees its own block both ways and strictly earlier clean blocks. Losses are summed and
divided by the global count of scored tokens (Nemotron-Labs-Diffusion paper, sections 2 and 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor

from engine.model.network import Network

DIFFUSION_WEIGHT = 0.3
_EPSILON = 1e-3


@dataclass(frozen=True, slots=True)
class Losses:
    """Sums over scored tokens, with the counts that turn them into means."""

    causal_sum: Tensor
    diffusion_sum: Tensor
    causal_tokens: int
    masked_tokens: int

    def joint(self) -> Tensor:
        """(S_ar + 0.3 S_diff) / (n_ar + n_masked), the family's global token average."""
        return (self.causal_sum + DIFFUSION_WEIGHT * self.diffusion_sum) / (self.causal_tokens + self.masked_tokens)

    def balanced(self) -> Tensor:
        """Mean causal loss plus mean diffusion loss: what a small model with little data learns fastest from."""
        return self.causal_sum / self.causal_tokens + self.diffusion_sum / self.masked_tokens


@dataclass(frozen=True, slots=True)
class Masking:
    """How blocks are corrupted: shares of draft form (first token known) and of wholly masked blocks; the rest by ratio."""

    draft_share: float = 0.5
    full_share: float = 0.15


def visibility(length: int, block: int, start: int = 0) -> Tensor:
    """Boolean [m + n, m + n], query by key, of the dual stream: True where the query may look.

    The noisy half holds the m = n - start rows from the block border `start` on; a prompt is never masked, so the
    noisy rows of its whole blocks would score nothing.
    """
    index = torch.arange(length)
    noisy, clean = index[start:] // block, index // block
    noisy_noisy = noisy[:, None] == noisy[None, :]
    noisy_clean = clean[None, :] < noisy[:, None]
    clean_clean = index[None, :] <= index[:, None]
    nothing = torch.zeros(length, length - start, dtype=torch.bool)
    return torch.cat((torch.cat((noisy_noisy, noisy_clean), dim=1), torch.cat((nothing, clean_clean), dim=1)), dim=0)


def corrupt(answer: Tensor, block: int, masking: Masking, generator: torch.Generator) -> Tensor:
    """Which positions become masks, boolean [batch, n]; `answer` [batch, n] marks the tokens that may (never the prompt).

    Each block draws its own form: the draft form (its first token kept, the rest masked), all masked, or every token
    masked independently with a ratio drawn for that block.
    """
    batch, length = answer.shape
    blocks = -(-length // block)
    ratio = (1 - _EPSILON) * torch.rand(batch, blocks, generator=generator) + _EPSILON
    form = torch.rand(batch, blocks, generator=generator)
    ratio = torch.where(form < masking.draft_share + masking.full_share, torch.ones(()), ratio)
    spread = ratio.repeat_interleave(block, dim=1)[:, :length]
    masked = torch.rand(batch, length, generator=generator) < spread
    draft = (form < masking.draft_share).repeat_interleave(block, dim=1)[:, :length]
    first = (torch.arange(length) % block == 0)[None, :]
    return answer & masked & ~(draft & first)


def causal_losses(network: Network, tokens: Tensor, scored: Tensor) -> Losses:
    """Next-token loss over targets where `scored` [batch, n] holds."""
    positions = torch.arange(tokens.shape[1]).expand_as(tokens)
    hidden = network(tokens, positions, _attention(None))
    total, count = _cross_entropy(network, hidden[:, :-1], tokens[:, 1:], scored[:, 1:])
    return Losses(total, torch.zeros(()), count, 0)


def joint_losses(network: Network, tokens: Tensor, scored: Tensor, masked: Tensor, block: int, start: int = 0) -> Losses:
    """Both losses from one dual-stream pass.

    tokens int64 [batch, n]; scored and masked boolean [batch, n]; nothing before `start`, a multiple of `block`, is masked.
    """
    length = tokens.shape[1]
    noisy = torch.where(masked, network.config.mask_token_id, tokens)[:, start:]
    index = torch.arange(length)
    positions = torch.cat((index[start:], index)).expand(tokens.shape[0], -1)
    mask = visibility(length, block, start)
    hidden = network(torch.cat((noisy, tokens), dim=1), positions, _attention(mask))
    clean = hidden[:, length - start :]
    causal, causal_count = _cross_entropy(network, clean[:, :-1], tokens[:, 1:], scored[:, 1:])
    rows = hidden[:, : length - start]
    diffusion, masked_count = _cross_entropy(network, rows, tokens[:, start:], masked[:, start:])
    return Losses(causal, diffusion, causal_count, masked_count)


class _attention:  # noqa: N801 - reads as the function it stands for
    """Torch's attention under one fixed mask (None: causal), heads before rows as torch wants them."""

    def __init__(self, mask: Tensor | None) -> None:
        self.mask = mask

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:  # noqa: ARG002 - one mask for all
        out = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            attn_mask=self.mask,
            is_causal=self.mask is None,
            enable_gqa=True,
        )
        return out.transpose(1, 2)


def _cross_entropy(network: Network, hidden: Tensor, targets: Tensor, where: Tensor) -> tuple[Tensor, int]:
    """Summed cross-entropy and count over `where`; logits are made for those rows only."""
    rows = hidden[where]
    return F.cross_entropy(network.logits(rows), targets[where], reduction="sum"), int(rows.shape[0])
