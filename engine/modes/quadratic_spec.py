"""Quadratic self-speculation: verify a block of B drafts and draft the next one in the same pass.

Behind each draft j stand B masks that see the drafts up to j: whichever draft turns out to be the last good one, the block
after it is already drafted. `draft[0]` is the causal pick of the pass before, so it always holds. Only drafts have slots.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from engine.events import leading_matches
from engine.modes.linear_spec import begin, opened_round, unverified
from engine.plan import Lora, Step, quadratic
from engine.sampling import Picks
from engine.session import Session


@dataclass(frozen=True, slots=True)
class _Next:
    """A certain token (one causal pick, not yet output) and the drafts after it."""

    head: Picks
    drafted: Picks


def quadratic_spec(session: Session, first: Picks) -> Generator[Step, Picks, None]:
    """Decode from what `opening_draft` gave, the start pass of the paper's section 3.4, one pass a round."""
    following = _Next(first.part(0, 1), first.part(1))
    if session.cut(following.head.ids)[1]:
        begin(session, first)
        return
    while session.ended is None:
        following = yield from _round(session, following)


def _round(session: Session, current: _Next) -> Generator[Step, Picks, _Next]:
    """One pass: output the drafts that hold, and the causal pick after them only if it ends the answer."""
    tokens = (*current.head.ids, *current.drafted.ids)
    opened, size = opened_round(session, tokens, current.drafted), len(tokens)
    with session.interrupted(lambda: unverified(opened)):
        allowed = session.allowed(tokens)
        picks = yield quadratic(tokens, session.mask_id, Lora.ON, None if allowed is None else allowed[1:])
    accepted = 1 + leading_matches(current.drafted.ids, picks.ids[:size])
    head = picks.part(accepted - 1, accepted)
    kept = session.take(_output(session, (*tokens[:accepted], *head.ids)))
    session.commit(min(accepted, kept))
    session.alternatives((current.head, picks), kept)
    session.emit(
        opened(
            verified=tuple(picks.ids[:size]),
            accepted=accepted,
            output=(*tokens[:accepted], *head.ids)[:kept],
            logprob=(*current.head.logprob, *picks.logprob)[:kept],
            forwards=session.claim(),
            complete=True,
        )
    )
    masks = size + (accepted - 1) * (size - 1)
    return _Next(head, picks.part(masks, masks + size - 1))


def _output(session: Session, tokens: tuple[int, ...]) -> tuple[int, ...]:
    """The leading ones that are output now: the last only where the answer ends with it."""
    count, reason = session.cut(tokens)
    return tokens[:count] if reason else tokens[:-1]
