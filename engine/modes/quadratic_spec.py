"""Quadratic self-speculation: verify a block of B drafts and draft the next one in the same pass.

Behind each draft j stand B masks that see the drafts up to j: whichever draft turns out to be the last good one, the block
after it is already drafted. `draft[0]` is the causal pick of the pass before, so it always holds. Only drafts have slots.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from torch import Tensor

from engine.events import FinishReason, RunDecoded
from engine.modes.linear_spec import draft, leading_matches, opened_round
from engine.plan import Lora, Step, quadratic
from engine.sampling import Picks
from engine.session import Session


@dataclass(frozen=True, slots=True)
class _Next:
    """A certain token (one causal pick) and the drafts after it."""

    head: Picks
    drafted: Picks


def quadratic_spec(session: Session, prior: Tensor) -> Generator[Step, Tensor, FinishReason]:
    """Decode from the last prefill logits `prior` [1, V]: a start pass as in linear, then one pass a round."""
    head = session.sampler.pick(prior, (session.position,))
    if reason := session.ending(head.ids):
        session.emit(RunDecoded(session.request.id, session.position, head.ids, head.logprob, session.claim()))
        return reason
    following = _Next(head, (yield from draft(session, head.ids[0])))
    while True:
        following = yield from _round(session, following)
        if reason := session.ending():
            return reason


def _round(session: Session, current: _Next) -> Generator[Step, Tensor, _Next]:
    """One pass: output the drafts that hold, and the causal pick after them only if it ends the answer."""
    opened = opened_round(session, current.head.ids + current.drafted.ids, current.drafted)
    start, size = opened.start, len(opened.draft)
    with session.interrupted(lambda: opened):
        logits = yield quadratic(opened.draft, session.mask_id, Lora.ON)
        picks = session.sampler.pick(logits[:size], range(start + 1, start + 1 + size))
        accepted = 1 + leading_matches(current.drafted.ids, picks.ids)
        masks = logits[size:].view(size, size - 1, -1)[accepted - 1] if size > 1 else logits[:0]
        drafted = session.sampler.pick(masks, range(start + accepted + 1, start + accepted + size))
    head = Picks(picks.ids[accepted - 1 : accepted], picks.logprob[accepted - 1 : accepted])
    output = opened.draft[:accepted] + head.ids
    output = output[: session.clip(output)]
    if session.ending(output) is None:
        output = opened.draft[:accepted]
    session.cache.commit(accepted)
    session.emit(
        replace(
            opened,
            verified=picks.ids,
            accepted=accepted,
            output=output,
            logprob=(current.head.logprob + picks.logprob)[: len(output)],
            forwards=session.claim(),
            complete=True,
        )
    )
    return _Next(head, drafted)
