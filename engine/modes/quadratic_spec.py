"""Quadratic self-speculation: verify a block of B drafts and draft the next one in the same pass.

Behind each draft j stand B masks that see the drafts up to j: whichever draft turns out to be the last good one, the block
after it is already drafted. `draft[0]` is the causal pick of the pass before, so it always holds. Only drafts have slots.
"""

from __future__ import annotations

from collections.abc import Generator

from engine.events import leading_matches
from engine.modes.linear_spec import begin, close_round, opened_round
from engine.plan import Lora, Step, quadratic
from engine.sampling import Picks
from engine.session import Session


def quadratic_spec(session: Session, first: Picks) -> Generator[Step, Picks, None]:
    """Decode from what `opening_draft` gave, the start pass of the paper's section 3.4, one pass a round."""
    head, drafted = first.part(0, 1), first.part(1)
    if session.cut(head.ids)[1]:
        begin(session, first)
        return
    while session.ended is None:
        head, drafted = yield from _round(session, head, drafted)


def _round(session: Session, head: Picks, drafted: Picks) -> Generator[Step, Picks, tuple[Picks, Picks]]:
    """One pass over a certain token, which is not output yet, and the drafts behind it; returns both for the next round.

    The drafts that hold are output, and the causal pick after them only if it ends the answer.
    """
    tokens = (*head.ids, *drafted.ids)
    opened, size = opened_round(session, tokens, drafted), len(tokens)
    with session.interrupted(opened):
        allowed = session.allowed(tokens)
        picks = yield quadratic(tokens, session.mask_id, Lora.ON, None if allowed is None else allowed[1:])
        accepted = 1 + leading_matches(drafted.ids, picks.ids[:size])
        following = picks.part(accepted - 1, accepted)
        whole = (*head.ids, *picks.ids[:accepted])
        count, reason = session.cut(whole)
        kept = session.take(whole[:count] if reason else whole[:-1])
    session.commit(min(accepted, kept))
    close_round(session, opened, (head, picks), size, accepted, kept)
    masks = size + (accepted - 1) * (size - 1)
    return following, picks.part(masks, masks + size - 1)
