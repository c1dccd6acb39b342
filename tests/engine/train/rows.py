"""Random rows for tests of the trainer, and passes over them by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.model.network import Network, plain_linear
from engine.train.batches import Batch
from engine.train.corpus import Example
from engine.train.masking import Noise
from engine.train.streams import Noisy, Packed
from tests.engine.harness import causal_attend

END = 11


def random_rows(*shapes: tuple[int, int], seed: int = 0, vocabulary: int = 90) -> list[Example]:
    """Rows of random tokens, given as (prompt, whole) lengths."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for prompt, length in shapes:
        ids = torch.randint(12, vocabulary, (length,), generator=generator).tolist()
        found.append(Example((*ids[:-1], END), prompt))
    return found


def random_noise(noisy: Noisy, seed: int = 0, ratio: float = 0.6) -> Noise:
    """Every open place masked with one chance."""
    drawn = torch.rand(noisy.opened.shape, generator=torch.Generator().manual_seed(seed)) < ratio
    return Noise(noisy.opened & drawn, torch.full(noisy.opened.shape, ratio))


def dual_logits(network: Network, batch: Batch, noisy: Noisy, shown: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the noisy half, which shows `shown` [b, m], and of the clean half; of what is padding they are zeros."""
    length, places = batch.tokens.shape[1], shown.shape[1]
    logits = packed_logits(network, torch.cat((shown, batch.tokens), dim=1), noisy, noisy.sees(length), noisy.real(batch))
    return logits[:, :places], logits[:, places:]


def packed_logits(network: Network, tokens: Tensor, noisy: Noisy, spans: Tensor, real: Tensor) -> Tensor:
    """Logits [b, m + n, V] of a pass over the real places of both halves, put back to where they belong."""
    packed = Packed(real, spans, real)
    found = packed.logits(network, tokens, noisy.positions(tokens.shape[1] - noisy.index.shape[1]), plain_linear)
    logits = found.new_zeros(*real.shape, found.shape[-1])
    logits[real] = found
    return logits


def causal_logits(network: Network, tokens: Tensor) -> Tensor:
    """Logits [n, V] of one text read causally."""
    logits: Tensor = network.logits(network(tokens[None], torch.arange(len(tokens))[None], causal_attend))[0]
    return logits
