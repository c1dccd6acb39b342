"""Block diffusion: denoise a block bidirectionally, then commit it with one causal pass.

Each denoise step proposes a token for every masked position and keeps the confident ones; masked-ness is a bit per
position. The causal pass writes the block's keys and values, scores every token of it, and seeds the next block.
"""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from engine.events import BlockDecoded, DenoiseStep, FinishReason
from engine.plan import Lora, Step, clean, noisy
from engine.request import GenerationRequest
from engine.sampling import Picks
from engine.session import Session


def diffusion(session: Session, prior: Tensor) -> Generator[Step, Tensor, FinishReason]:
    """Decode block by block from the last prefill logits `prior` [1, V]."""
    while True:
        prior = yield from _block(session, prior)
        if reason := session.ending():
            return reason


def _block(session: Session, prior: Tensor) -> Generator[Step, Tensor, Tensor]:
    """Denoise and commit one block; returns its last causal logits [1, V]."""
    start, size = session.cache.committed, session.request.block_length
    block = _Block(session)
    if session.request.seed_first:
        block.seed(session.sampler.pick(prior, (start,)).ids[0])
    with session.interrupted(block.unfinished):
        while block.unresolved():
            logits = yield noisy(block.tokens, Lora.OFF)
            block.denoise(session.sampler.pick(logits, range(start, start + size)))
        block.fill()
        logits = yield clean(block.tokens)
        causal = torch.cat((prior, logits[:-1]))
        picks = session.sampler.pick(causal, range(start, start + size))
        logprob = session.sampler.score(causal, block.tokens)
    session.cache.commit(size)
    agreement = tuple(left == right for left, right in zip(picks.ids, block.tokens, strict=True))
    session.emit(block.decoded(logprob, agreement))
    return logits[-1:]


class _Block:
    """A block being denoised, and its story so far."""

    def __init__(self, session: Session) -> None:
        size = session.request.block_length
        self._session, self._start = session, session.cache.committed
        self.tokens = [session.mask_id] * size
        self._masked = [True] * size
        self._confidence = [0.0] * size
        self._steps: list[DenoiseStep] = []
        self._masks = size

    @property
    def _request(self) -> GenerationRequest:
        return self._session.request

    def seed(self, token: int) -> None:
        """Fix position 0 to the causal pick."""
        self.tokens[0], self._masked[0], self._confidence[0] = token, False, 1.0
        self._masks -= 1

    def unresolved(self) -> bool:
        """Whether denoising must go on: some position is masked, and no stop id stands before the first masked one."""
        if True not in self._masked:
            return False
        return self._request.stop_ids.isdisjoint(self.tokens[: self._masked.index(True)])

    def denoise(self, picks: Picks) -> None:
        """Keep the proposals of one step."""
        confidence = tuple(value if masked else 0.0 for value, masked in zip(picks.confidence, self._masked, strict=True))
        proposal = tuple(new if masked else old for new, old, masked in zip(picks.ids, self.tokens, self._masked, strict=True))
        committed = self._choose(confidence)
        self._steps.append(DenoiseStep(tuple(self._masked), proposal, confidence, committed))
        for index, chosen in enumerate(committed):
            if chosen:
                self.tokens[index], self._masked[index] = proposal[index], False
                self._confidence[index] = confidence[index]

    def _choose(self, confidence: tuple[float, ...]) -> tuple[bool, ...]:
        """The best masked positions, lowest first among equals: as many as are due and, by threshold, all that reach it."""
        step, steps, threshold = len(self._steps), self._request.max_steps, self._request.threshold
        ranked = sorted((-value, index) for index, value in enumerate(confidence) if self._masked[index])
        if step + 1 >= steps:
            due = len(ranked)
        elif threshold is None:
            due = self._masks // steps + (step < self._masks % steps)
        else:
            due = max(1, sum(-negative >= threshold for negative, _ in ranked))
        chosen = {index for _, index in ranked[:due]}
        return tuple(index in chosen for index in range(len(confidence)))

    def fill(self) -> None:
        """Positions behind a stop id that were never resolved repeat it; they are not output."""
        if True not in self._masked:
            return
        stop = next(token for token in self.tokens if token in self._request.stop_ids)
        self.tokens = [stop if masked else token for token, masked in zip(self.tokens, self._masked, strict=True)]

    def unfinished(self) -> BlockDecoded | None:
        """What is known of a block that was cut short, if any step was made."""
        return self._event((), (), 0) if self._steps else None

    def decoded(self, logprob: tuple[float, ...], agreement: tuple[bool, ...]) -> BlockDecoded:
        """The whole block, scored by the causal pass."""
        return self._event(logprob, agreement, self._session.clip(self.tokens))

    def _event(self, logprob: tuple[float, ...], agreement: tuple[bool, ...], emitted: int) -> BlockDecoded:
        return BlockDecoded(
            generation=self._request.id,
            index=self._session.blocks,
            start=self._start,
            seeded=self._request.seed_first,
            steps=tuple(self._steps),
            tokens=tuple(self.tokens),
            commit_confidence=tuple(self._confidence),
            verifier_logprob=logprob,
            agreement=agreement,
            emitted=emitted,
            forwards=self._session.claim(),
            complete=True,
        )
