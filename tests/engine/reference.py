"""The released decoders, written again from their description on top of transformers' own Llama.

Nothing of the engine is used: no cache, no plan, no sampling. Every pass reads the whole text so far under an explicit mask
of who sees whom, in which earlier tokens are causal and the last block, if it is noisy, sees all of itself; that is what a
cache of causal keys and values comes to. Greedy, one sequence at a time, forwards counted as the release counts them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.model.checkpoint import LoadedModel
from tests.engine.llama import llama

LORA_SCALE = 4.0


@dataclass(frozen=True)
class Said:
    """The answer, and network passes as the release counts them."""

    ids: tuple[int, ...]
    passes: int


@dataclass(frozen=True)
class Drafted:
    """Tokens that nobody has verified, and how probable their drafter thinks all of them."""

    ids: list[int]
    probability: float


class Reference:
    """One checkpoint; `never` is a token that no pass may propose (None: any may be)."""

    def __init__(self, given: LoadedModel, never: int | None = None) -> None:
        self._model, self._never = llama(given), never
        self._mask_token, self._eos = given.config.mask_token_id, given.config.eos_token_id
        parameters = dict(given.network.named_parameters())
        self._lora = [
            (parameters[f"layers.{n}.self_attn.lora_a"], parameters[f"layers.{n}.self_attn.lora_b"])
            for n in range(given.config.num_hidden_layers)
        ]

    def ar(self, prompt: list[int], most: int) -> Said:
        """One token after another."""
        said: list[int] = []
        while len(said) < most:
            said.append(self._best(self._causal(prompt + said)[-1]))
            if said[-1] == self._eos:
                break
        return Said(tuple(said), len(said))

    def diffusion(self, prompt: list[int], blocks: int, size: int, threshold: float) -> Said:
        """Blocks of `size`, the first token of each seeded causally, the rest denoised by confidence."""
        said: list[int] = []
        passes = 0
        seed = self._best(self._causal(prompt)[-1])
        for _ in range(blocks):
            block = [seed] + [self._mask_token] * (size - 1)
            for _ in range(size):
                if self._mask_token not in block:
                    break
                passes += 1
                block = self._denoised(block, self._noisy(prompt + said, block), threshold)
                if self._ended(block):
                    break
            passes += 1
            seed = self._best(self._causal(prompt + said + block)[-1])
            said += block
            if self._eos in said:
                return Said(tuple(said[: said.index(self._eos) + 1]), passes)
        return Said(tuple(said), passes)

    def linear_spec(self, prompt: list[int], most: int, size: int, *, ahead: bool = False) -> Said:
        """Draft a block with the LoRA, verify it without, keep what agrees and one token more.

        As the release does it, or `ahead`: then the prompt's pass drafts too, and so does one that verifies a promising draft,
        behind the whole of it.
        """
        token = self._best(self._causal(prompt)[-1])
        said, passes = [token], 1
        drafted = self._drafted(prompt, [], size) if ahead else None
        while token != self._eos and len(said) < most:
            cached = prompt + said[:-1]
            if drafted is None:
                drafted = self._drafted(cached, [token], size)
                passes += 1
            block = [token, *drafted.ids]
            read = [self._best(row) for row in self._causal(cached + block)[len(cached) :]]
            passes += 1
            goes_on = drafted.probability >= 0.5 and self._eos not in block and len(said) + size < most
            matched = 0
            while matched < size - 1 and read[matched] == block[matched + 1]:
                matched += 1
            taken = read[: matched + 1]
            if self._eos in taken:
                taken = taken[: taken.index(self._eos) + 1]
            said += taken
            token = said[-1]
            drafted = self._drafted(cached + block, [], size) if ahead and goes_on and matched == size - 1 else None
        return Said(tuple(said), passes)

    def _drafted(self, before: list[int], seed: list[int], size: int) -> Drafted:
        """`size` - 1 tokens by the LoRA: behind a seed, or behind the place of one that is not known yet."""
        block = seed + [self._mask_token] * (size - len(seed))
        with self._drafting(size):
            rows = self._noisy(before, block)[1:]
        ids = [self._best(row) for row in rows]
        sure = [float(row.softmax(-1)[token]) for row, token in zip(rows, ids, strict=True)]
        return Drafted(ids, math.prod(sure))

    def _denoised(self, block: list[int], logits: Tensor, threshold: float) -> list[int]:
        """Fill the most confident mask and every one at or above the threshold."""
        masks = [index for index, token in enumerate(block) if token == self._mask_token]
        candidate = {index: self._best(logits[index]) for index in masks}
        confidence = {index: float(logits[index].softmax(-1)[candidate[index]]) for index in masks}
        surest = max(masks, key=lambda index: confidence[index])
        filled = list(block)
        for index in masks:
            if index == surest or confidence[index] >= threshold:
                filled[index] = candidate[index]
        return filled

    def _ended(self, block: list[int]) -> bool:
        """Whether an end token stands with no mask before it."""
        return self._eos in block and self._mask_token not in block[: block.index(self._eos)]

    def _best(self, row: Tensor) -> int:
        if self._never is not None:
            row = row.clone()
            row[self._never] = -torch.inf
        return int(row.argmax())

    def _causal(self, tokens: list[int]) -> Tensor:
        return self._pass(tokens, torch.ones(len(tokens), len(tokens), dtype=torch.bool).tril())

    def _noisy(self, before: list[int], block: list[int]) -> Tensor:
        """Logits of the block alone: it sees all of itself and everything before it."""
        size = len(before) + len(block)
        seen = torch.ones(size, size, dtype=torch.bool).tril()
        seen[len(before) :, len(before) :] = True
        return self._pass(before + block, seen)[len(before) :]

    def _pass(self, tokens: list[int], seen: Tensor) -> Tensor:
        """Logits [n, V] under an explicit mask [n, n], added to the scores before the softmax."""
        added = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
        with torch.inference_mode():
            found: Any = self._model(torch.tensor([tokens]), attention_mask=added[None, None], use_cache=False)
        return torch.Tensor(found.logits[0])

    @contextmanager
    def _drafting(self, size: int) -> Iterator[None]:
        """The LoRA is on for the last `size` rows, and off for the text before them, which was cached without it."""
        layers: Any = self._model.model.layers
        handles = []
        for layer, (first, second) in zip(layers, self._lora, strict=True):

            def added(_: Any, given: tuple[Tensor], out: Tensor, first: Tensor = first, second: Tensor = second) -> Tensor:
                rows = (torch.arange(out.shape[1]) >= out.shape[1] - size).float()[None, :, None]
                return out + LORA_SCALE * rows * (given[0] @ first.T @ second.T)

            handles.append(layer.self_attn.o_proj.register_forward_hook(added))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
