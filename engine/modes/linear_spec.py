"""Linear self-speculation: draft a block bidirectionally with the drafter LoRA, verify it causally without.

The seed is decided but not cached. A draft is kept while it equals the causal pick for its position, and the pick after the
last kept one is output too, so every token is a causal pick and the text is that of `ar`. A pass that verifies a promising
draft drafts the next block as well, behind the whole of it: if all of it holds, the next round needs no pass to draft.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from typing import Final

from engine.events import SpecRound, leading_matches
from engine.modes.ar import Run
from engine.plan import NO_SOURCE, Lora, Step, Want, ahead, clean, clean_frame, masked_frame, noisy
from engine.sampling import Picks, confidences
from engine.session import Session

NOTHING: Final = Picks([], [])
PROMISING: Final = -math.log(2)
"""From this log-probability on a draft holds rather than not, as its drafter sees it."""


@dataclass(frozen=True, slots=True)
class Seed:
    """A decided token that is not cached, and what is drafted behind it; nothing where that is still to be done."""

    token: int
    drafted: Picks = NOTHING


def linear_spec(session: Session, first: Picks) -> Generator[Step, Picks, None]:
    """Decode from what `opening_draft` gave: a pass a round, and one more behind a draft that did not hold."""
    seed = begin(session, first)
    while session.ended is None:
        seed = yield from round_of(session, seed, session.request.block_length)


def opening_draft(session: Session, step: Step, size: int) -> Step:
    """The prompt's last pass, which drafts the first block as well if there is one, in either speculative mode."""
    return step if size == 1 or session.room == 1 else ahead(step, size, session.mask_id)


def begin(session: Session, first: Picks) -> Seed:
    """Output the pick after the prompt, at once; it is the first seed."""
    return Seed(Run(session).add(first.part(0, 1)), first.part(1))


def round_of(session: Session, seed: Seed, size: int) -> Generator[Step, Picks, Seed]:
    """Verify what is drafted behind `seed`, or `size` - 1 tokens drafted now, and output what holds; returns the next seed."""
    drafted = seed.drafted
    if not drafted.ids and size > 1:
        masked = (seed.token, *(session.mask_id,) * (size - 1))
        drafted = (yield noisy(masked, Lora.ON, _reading(session, seed.token, size))).part(1)
    tokens = (seed.token, *drafted.ids)
    opened = opened_round(session, tokens, drafted)
    with session.interrupted(opened):
        picks = yield _verification(session, tokens, drafted, size)
        matched = leading_matches(drafted.ids, picks.ids)
        kept = session.take(picks.ids[: matched + 1])
    session.commit(kept)
    close_round(session, opened, (picks,), len(tokens), matched, kept)
    return Seed(picks.ids[matched], picks.part(len(tokens)) if matched == len(drafted.ids) else NOTHING)


def _verification(session: Session, tokens: Sequence[int], drafted: Picks, size: int) -> Step:
    """The causal rows of a round; with the next block's masks where the draft is promising and the answer goes on behind it."""
    step = clean(tokens, allowed=session.allowed(drafted.ids))
    room = session.room - len(tokens)
    if size == 1 or room <= 0 or sum(drafted.logprob) < PROMISING or session.cut(drafted.ids)[1]:
        return step
    follow = _next_round(len(tokens), size, session.mask_id, room > size) if session.ahead else ()
    return ahead(step, size, session.mask_id, follow)


def _reading(session: Session, seed: int, size: int) -> tuple[Step, ...]:
    """The causal rows that read the seed and whatever is drafted behind it; a draft that took a pass promises no more."""
    if not session.ahead:
        return ()
    return (Step((seed,) * size, clean_frame(size, Want.ALL), sources=(NO_SOURCE, *range(1, size))),)


@lru_cache(maxsize=512)
def _next_round(kept: int, size: int, mask_id: int, goes_on: bool) -> tuple[Step, ...]:
    """The round behind one whose `kept` tokens all hold; it, too, drafts if the answer `goes_on` behind it."""
    plain, masks = clean_frame(size, Want.ALL), size * goes_on
    picked = (*range(kept - 1, kept - 1 + size), *(NO_SOURCE,) * masks)
    frame = masked_frame(plain, size, size - 1) if masks else plain
    return (Step((mask_id,) * len(picked), frame, sources=picked, kept=kept),)


def opened_round(session: Session, tokens: tuple[int, ...], drafted: Picks) -> partial[SpecRound]:
    """The record of a round whose `tokens` are a certain one and then `drafted`; as it stands if the round is cut short."""
    confidence = (1.0, *confidences(drafted.logprob))
    opened = partial(SpecRound, session.request.id, session.rounds, session.committed, tokens, confidence)
    return partial(opened, verified=(), accepted=0, output=(), logprob=(), forwards=0, complete=False)


def close_round(
    session: Session, opened: partial[SpecRound], said: Sequence[Picks], size: int, accepted: int, kept: int
) -> None:
    """Tell a round of `size` tokens: of what was `said`, whose last part verified it, `kept` leading tokens are output."""
    session.alternatives(said, kept)
    session.emit(
        opened(
            verified=tuple(said[-1].ids[:size]),
            accepted=accepted,
            output=tuple(chain.from_iterable(picks.ids for picks in said))[:kept],
            logprob=tuple(chain.from_iterable(picks.logprob for picks in said))[:kept],
            forwards=session.claim(),
            complete=True,
        )
    )
