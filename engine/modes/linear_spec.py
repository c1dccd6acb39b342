"""Linear self-speculation: draft a block bidirectionally with the drafter LoRA, verify it causally without.

The seed is decided but not cached. A draft is kept while it equals the causal pick for its position, and the pick after the
last kept one is output too, so every token is a causal pick and the text is that of `ar`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial

from engine.events import RunDecoded, SpecRound
from engine.plan import NO_SOURCE, Follow, Lora, Step, Want, clean, clean_frame, noisy
from engine.sampling import Picks, confidences
from engine.session import Session


def linear_spec(session: Session, first: Picks) -> Generator[Step, Picks, None]:
    """Decode from the pick `first` after the prompt, two passes a round (one at block length 1)."""
    seed = begin(session, first)
    while session.ended is None:
        seed = yield from round_of(session, seed, session.request.block_length)


def begin(session: Session, first: Picks) -> int:
    """Output the pick after the prompt; it is the first seed."""
    session.take(first.ids)
    session.alternatives((first,), 1)
    run = RunDecoded(session.request.id, session.position, tuple(first.ids), tuple(first.logprob), session.claim())
    session.emit(run)
    return first.ids[0]


def round_of(session: Session, seed: int, size: int) -> Generator[Step, Picks, int]:
    """Draft `size` - 1 tokens, verify, output what holds; returns the next seed, which is output and not cached."""
    drafted = yield from draft(session, seed, size, _verification(session, seed, size))
    tokens = (seed, *drafted.ids)
    opened = opened_round(session, tokens, drafted)
    with session.interrupted(lambda: unverified(opened)):
        picks = yield clean(tokens, allowed=session.allowed(drafted.ids))
    matched = leading_matches(drafted.ids, picks.ids)
    kept = session.take(picks.ids[: matched + 1])
    session.commit(kept)
    session.alternatives((picks,), kept)
    session.emit(
        opened(
            verified=tuple(picks.ids),
            accepted=matched,
            output=tuple(picks.ids[:kept]),
            logprob=tuple(picks.logprob[:kept]),
            forwards=session.claim(),
            complete=True,
        )
    )
    return picks.ids[matched]


def draft(session: Session, seed: int, size: int, follow: Sequence[Follow] = ()) -> Generator[Step, Picks, Picks]:
    """One bidirectional pass over the seed and masks: picks for the positions after the seed, none at block length 1."""
    if size == 1:
        return Picks([], [])
    picks = yield noisy((seed, *(session.mask_id,) * (size - 1)), Lora.ON, follow)
    return picks.part(1)


def _verification(session: Session, seed: int, size: int) -> Sequence[Follow]:
    """The causal rows that read the seed and whatever is drafted behind it."""
    if session.constrained:
        return ()
    return (Follow(clean_frame(size, Want.ALL), 0, (seed,) * size, (NO_SOURCE, *range(1, size))),)


def opened_round(session: Session, tokens: tuple[int, ...], drafted: Picks) -> partial[SpecRound]:
    """The record of a round whose `tokens` are a certain one and then `drafted`; what comes of them is still to be said."""
    confidence = (1.0, *confidences(drafted.logprob))
    return partial(SpecRound, session.request.id, session.rounds, session.committed, tokens, confidence)


def unverified(opened: partial[SpecRound]) -> SpecRound:
    """The record of a round that is cut short."""
    return opened(verified=(), accepted=0, output=(), logprob=(), forwards=0, complete=False)


def leading_matches(drafted: Sequence[int], wanted: Sequence[int]) -> int:
    """How many leading drafts equal what the verifier wants at their positions."""
    for index, (left, right) in enumerate(zip(drafted, wanted, strict=False)):
        if left != right:
            return index
    return len(drafted)
