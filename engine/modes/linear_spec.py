"""Linear self-speculation: draft a block bidirectionally with the drafter LoRA, verify it causally without.

The seed is decided but not cached. A draft is kept while it equals the causal pick for its position, and the pick after the
last kept one is output too, so every token is a causal pick and the text is that of `ar`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from torch import Tensor

from engine.events import FinishReason, RunDecoded, SpecRound
from engine.plan import Lora, Step, clean, noisy
from engine.sampling import Picks
from engine.session import Session


def linear_spec(session: Session, prior: Tensor) -> Generator[Step, Tensor, FinishReason]:
    """Decode from the last prefill logits `prior` [1, V], two passes a round (one at block length 1)."""
    first = session.sampler.pick(prior, (session.position,))
    session.emit(RunDecoded(session.request.id, session.position, first.ids, first.logprob, session.claim()))
    seed = first.ids[0]
    while True:
        if reason := session.ending():
            return reason
        seed = yield from _round(session, seed)


def _round(session: Session, seed: int) -> Generator[Step, Tensor, int]:
    """Draft, verify, output what holds; returns the next seed, which is output and not cached."""
    drafted = yield from draft(session, seed)
    opened = opened_round(session, (seed, *drafted.ids), drafted)
    with session.interrupted(lambda: opened):
        logits = yield clean(opened.draft)
        picks = session.sampler.pick(logits, range(opened.start + 1, opened.start + 1 + len(opened.draft)))
    matched = leading_matches(drafted.ids, picks.ids)
    emitted = session.clip(picks.ids[: matched + 1])
    session.cache.commit(matched + 1)
    session.emit(
        replace(
            opened,
            verified=picks.ids,
            accepted=matched,
            output=picks.ids[:emitted],
            logprob=picks.logprob[:emitted],
            forwards=session.claim(),
            complete=True,
        )
    )
    return picks.ids[matched]


def draft(session: Session, seed: int) -> Generator[Step, Tensor, Picks]:
    """One bidirectional pass over the seed and masks: picks for the positions after the seed, none at block length 1."""
    masks = session.request.block_length - 1
    if not masks:
        return Picks((), ())
    base = session.cache.committed
    logits = yield noisy((seed, *[session.mask_id] * masks), Lora.ON)
    return session.sampler.pick(logits[1:], range(base + 1, base + 1 + masks))


def opened_round(session: Session, tokens: tuple[int, ...], drafted: Picks) -> SpecRound:
    """The record of a round whose `tokens` are a certain one and then `drafted`, not yet verified."""
    return SpecRound(
        generation=session.request.id,
        index=session.rounds,
        start=session.cache.committed,
        draft=tokens,
        draft_confidence=(1.0, *drafted.confidence),
        verified=(),
        accepted=0,
        output=(),
        logprob=(),
        forwards=0,
        complete=False,
    )


def leading_matches(drafted: tuple[int, ...], wanted: tuple[int, ...]) -> int:
    """How many leading drafts equal what the verifier wants at their positions."""
    for index, (left, right) in enumerate(zip(drafted, wanted, strict=False)):
        if left != right:
            return index
    return len(drafted)
