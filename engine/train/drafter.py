"""The drafter LoRA's own loss: be what the frozen verifier will accept, as far as it would have read.

A block starts with one certain token, which half of them do not see: drafted ahead, they do not know it yet. The LoRA pass
drafts the rest, the same network without it reads the draft causally, and the drafted tokens up to the first one refused are
scored. Both picks use one draw of noise per place and token, as decoding does; nine blocks of ten are drawn at temperature 1,
the tenth greedily.
Source: Nemotron-Labs-Diffusion paper, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor

from engine.model.network import Linear, Network, plain_linear
from engine.train.batches import Batch
from engine.train.streams import Noisy, Packed

TEMPERATURE = 3.0
CANDIDATES = 200
AHEAD_SHARE, GREEDY_SHARE = 0.5, 0.1


@dataclass(frozen=True, slots=True)
class DrafterLosses:
    """`total`: the loss summed over blocks; `blocks`: how many; `accepted`: drafted tokens that the verifier took."""

    total: Tensor
    blocks: int
    accepted: Tensor


def drafter_losses(
    network: Network, batch: Batch, noisy: Noisy, seeds: Sequence[int], linear: Linear = plain_linear
) -> DrafterLosses:
    """Draft every block of `noisy` that begins within its row, verify it, and score the places that were read.

    `seeds` decide what is drawn for each row, whichever rows stand beside it.
    Gradients reach whatever of the drafter pass requires them; the verifier is only read.
    """
    block, size, mask_token = noisy.block, len(batch.tokens), network.config.mask_token_id
    begun = noisy.opened.view(size, -1, block)[:, :, -1]
    ahead, noise = _drawn(seeds, begun.sum(dim=1).tolist(), (block - 1, network.config.vocab_size), begun.device)
    text = noisy.tokens.view(size, -1, block).clone()
    shown = torch.full_like(text, mask_token)
    shown[:, :, 0][begun] = text[:, :, 0][begun].masked_fill(ahead, mask_token)
    drafted = _logits(network, batch, noisy, shown.view(size, -1), linear, draft=True)
    draft = _pick(drafted, noise, mask_token)
    text[:, :, 1:][begun] = draft
    with torch.no_grad():
        read = _logits(network, batch, noisy, text.view(size, -1), linear, draft=False)
    taken = draft == _pick(read, noise, mask_token)
    goes_on = (taken & (draft != batch.end_token)).long()
    active = torch.cat((torch.ones_like(goes_on[:, :1]), goes_on[:, :-1].cumprod(dim=1)), dim=1).bool()
    each = place_loss(drafted[active], read[active])
    where = active.nonzero()[:, 0]
    mean = torch.zeros(len(draft), device=each.device).index_add(0, where, each) / active.sum(dim=1)
    return DrafterLosses(mean.sum(), len(draft), (taken & active).sum())


def place_loss(drafted: Tensor, read: Tensor) -> Tensor:
    """The loss of each place, from raw logits [k, V] of drafter and verifier: a divergence and a cross-entropy.

    Both speak of the union of the likeliest `CANDIDATES` of either, renormalised; the divergence is taken at temperature
    `TEMPERATURE`, mixing KL and total variation, the more KL the further the two are apart.
    """
    union = _likeliest(drafted) | _likeliest(read)
    log_q = (drafted / TEMPERATURE).masked_fill(~union, -torch.inf).log_softmax(dim=-1).masked_fill(~union, 0.0)
    log_p = (read / TEMPERATURE).masked_fill(~union, -torch.inf).log_softmax(dim=-1).masked_fill(~union, 0.0)
    p, q = log_p.exp() * union, log_q.exp() * union
    kl = (p * (log_p - log_q)).sum(dim=-1)
    variation = 0.5 * (p - q).abs().sum(dim=-1)
    share = torch.exp(-0.5 * (1 - variation.detach()))
    wanted = F.cross_entropy(drafted.masked_fill(~union, -torch.inf), read.argmax(dim=-1), reduction="none")
    return share * kl + (1 - share) * variation + wanted


def _logits(network: Network, batch: Batch, noisy: Noisy, shown: Tensor, linear: Linear, *, draft: bool) -> Tensor:
    """Logits [k, B - 1, V] of the blocks that begin in their row, the noisy half showing `shown` [b, m].

    With the LoRA and both ways, of all places but the first; or as causal text, of those that speak of them.
    """
    block, length = noisy.block, batch.tokens.shape[1]
    silent = torch.arange(shown.shape[1], device=shown.device) % block == (0 if draft else block - 1)
    clean = torch.zeros_like(batch.inside())
    wanted = torch.cat((noisy.opened & ~silent, clean), dim=1)
    packed = Packed(noisy.real(batch), noisy.sees(length) if draft else noisy.verifies(length), wanted)
    gate = torch.cat((torch.ones_like(shown), clean), dim=1) if draft else None
    logits = packed.logits(network, torch.cat((shown, batch.tokens), dim=1), noisy.positions(length), linear, gate)
    return logits.view(-1, block - 1, logits.shape[-1])


def _drawn(seeds: Sequence[int], counts: Sequence[int], places: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """What each row's seed draws for its blocks, which are so many: which are drafted ahead, boolean [k], and Gumbel noise
    [k, B - 1, V], zero for those that are picked greedily. `places` are B - 1 and V.
    """
    forms, noise = [], []
    for seed, count in zip(seeds, counts, strict=True):
        generator = torch.Generator().manual_seed(seed)
        greedy, ahead = torch.rand((2, count), generator=generator)
        uniform = torch.rand((count, *places), generator=generator).clamp(min=1e-20)
        forms.append(ahead < AHEAD_SHARE)
        noise.append((-torch.log(-torch.log(uniform))).masked_fill((greedy < GREEDY_SHARE)[:, None, None], 0.0))
    return torch.cat(forms).to(device), torch.cat(noise).to(device)


def _pick(logits: Tensor, noise: Tensor, mask_token: int) -> Tensor:
    """The likeliest token under the noise, [k, B - 1]; never the mask."""
    noised = logits.detach() + noise
    noised[..., mask_token] = -torch.inf
    return noised.argmax(dim=-1)


def _likeliest(logits: Tensor) -> Tensor:
    """Boolean [k, V]: the likeliest tokens of each place."""
    best = logits.detach().topk(min(CANDIDATES, logits.shape[-1]), dim=-1).indices
    return torch.zeros_like(logits, dtype=torch.bool).scatter(-1, best, value=True)
