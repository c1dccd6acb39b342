"""A diffusion block being denoised, with its whole story: every step, what was kept when, and the causal pass's opinion."""

from __future__ import annotations

from collections.abc import Sequence

from engine.events import BlockDecoded, DenoiseStep
from engine.gates import BlockFacts, recorded_mean
from engine.request import Mode
from engine.sampling import Picks, confidences
from engine.session import Session


class Block:
    """One block from absolute position `session.committed` on; `prior` is the causal pick for its first token."""

    def __init__(self, session: Session, prior: Picks) -> None:
        size = session.request.block_length
        self._session, self._start, self.prior = session, session.committed, prior
        self.tokens = [session.mask_id] * size
        self._masked = [True] * size
        self._confidence = [0.0] * size
        self._logprob: tuple[float, ...] = ()
        self._agreement: tuple[bool, ...] = ()
        self._attempt = self._revisions = self._earlier = 0
        if session.request.seed_first:
            self.tokens[0], self._masked[0], self._confidence[0] = prior.ids[0], False, 1.0
        self._open(session.request.threshold, session.request.max_steps)

    def _open(self, threshold: float | None, steps: int) -> None:
        """Denoising begins, or begins again, over the positions that are masked now."""
        self._threshold, self._most, self._masks = threshold, steps, sum(self._masked)
        self._steps: list[DenoiseStep] = []

    def unresolved(self) -> list[int]:
        """Where the masks are, whose proposals are asked for; nowhere once a stop id stands before the first of them."""
        masks = [index for index, masked in enumerate(self._masked) if masked]
        return masks if masks and self._session.request.stop_ids.isdisjoint(self.tokens[: masks[0]]) else []

    def denoise(self, masks: Sequence[int], picks: Picks) -> None:
        """Keep the proposals of one step, one for each of the masks."""
        proposal, confidence = self.tokens.copy(), [0.0] * len(self.tokens)
        for index, token, value in zip(masks, picks.ids, confidences(picks.logprob), strict=True):
            proposal[index], confidence[index] = token, value
        committed = self._choose(confidence)
        if self._steps:
            self._revisions += sum(new != old for new, old in zip(proposal, self._steps[-1].proposal, strict=True))
        self._steps.append(DenoiseStep(tuple(self._masked), tuple(proposal), tuple(confidence), committed))
        for index, chosen in enumerate(committed):
            if chosen:
                self.tokens[index], self._masked[index] = proposal[index], False
                self._confidence[index] = confidence[index]

    def _choose(self, confidence: Sequence[float]) -> tuple[bool, ...]:
        """The best masked positions, lowest first among equals: as many as are due and, by threshold, all that reach it."""
        threshold, done = self._threshold, len(self._steps)
        ranked = sorted((-value, index) for index, value in enumerate(confidence) if self._masked[index])
        if done + 1 >= self._most:
            due = len(ranked)
        elif threshold is None:
            due = self._masks // self._most + (done < self._masks % self._most)
        else:
            due = max(1, sum(-negative >= threshold for negative, _ in ranked))
        chosen = {index for _, index in ranked[:due]}
        return tuple(index in chosen for index in range(len(confidence)))

    def fill(self) -> None:
        """Positions behind a stop id that were never resolved repeat it; they are not output."""
        if True not in self._masked:
            return
        stop = next(token for token in self.tokens if token in self._session.request.stop_ids)
        self.tokens = [stop if masked else token for token, masked in zip(self.tokens, self._masked, strict=True)]

    def score(self, picks: Picks) -> None:
        """What the causal pass over the whole block thinks of each token."""
        prior = self.prior
        first = prior.logprob[0] if prior.ids[0] == self.tokens[0] else prior.last_logprob(self.tokens[0])
        self._logprob = (first, *picks.scored[:-1])
        wanted = (prior.ids[0], *picks.ids[:-1])
        self._agreement = tuple(left == right for left, right in zip(wanted, self.tokens, strict=True))

    def refine(self, threshold: float, steps: int) -> None:
        """Mask again what would be output and was committed below `threshold`, the least certain at any rate.

        What was only filled up stays masked: nobody proposed it.
        """
        kept, _ = self._session.cut(self.tokens)
        least = min(self._confidence[:kept])
        unsure = [value < threshold or value == least < 1 for value in self._confidence[:kept]]
        again = [*unsure, *self._masked[kept:]]
        self._masked = again
        self.tokens = [self._session.mask_id if masked else token for token, masked in zip(self.tokens, again, strict=True)]
        self._confidence = [0.0 if masked else value for value, masked in zip(self._confidence, again, strict=True)]
        self._revisions += sum(unsure)
        self._attempt += 1
        self._earlier += len(self._steps)
        self._open(threshold, max(1, steps))

    def facts(self) -> BlockFacts:
        """The figures a gate may see: of the tokens that the answer would gain."""
        kept, _ = self._session.cut(self.tokens)
        logprob, confidence = self._logprob[:kept], self._confidence[:kept]
        return BlockFacts(
            index=self._session.gated,
            start=self._start,
            mode=Mode.DIFFUSION.value,
            tokens=kept,
            attempt=self._attempt,
            steps=self._earlier + len(self._steps),
            revisions=self._revisions,
            logprob_mean=recorded_mean(logprob),
            logprob_min=min(logprob, default=0.0),
            confidence_mean=recorded_mean(confidence),
            confidence_min=min(confidence, default=0.0),
            agreement=recorded_mean(self._agreement[:kept]),
        )

    def unfinished(self) -> BlockDecoded | None:
        """What is known of a block that was cut short, if any step was made: no verifier's values, though they may be there."""
        self._logprob = self._agreement = ()
        return self.event(emitted=0) if self._steps else None

    def event(self, emitted: int) -> BlockDecoded:
        """The whole block, scored; `emitted` of its tokens are output, none of a block that the gate turned down."""
        return BlockDecoded(
            generation=self._session.request.id,
            index=self._session.blocks,
            start=self._start,
            seeded=self._session.request.seed_first,
            steps=tuple(self._steps),
            tokens=tuple(self.tokens),
            commit_confidence=tuple(self._confidence),
            verifier_logprob=self._logprob,
            agreement=self._agreement,
            emitted=emitted,
            forwards=self._session.claim(),
            complete=True,
        )
