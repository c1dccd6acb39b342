"""Modes as generators: each yields the Steps it needs and is sent the logits of the rows it wanted.

A mode says its events on the session, at the only place where their meaning is known, and returns why the answer ended.
Closing a generator (abort) or throwing into it (fault) makes it say the unfinished block or round.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from torch import Tensor

from engine.events import FinishReason, Prefilled
from engine.modes.ar import ar
from engine.modes.diffusion import diffusion
from engine.modes.linear_spec import linear_spec
from engine.modes.quadratic_spec import quadratic_spec
from engine.plan import Step, Want, clean
from engine.request import Mode
from engine.session import Session

PREFILL_CHUNK = 128
"""Prefill passes end at absolute multiples of this."""

Passes = Generator[Step, Tensor, FinishReason]

_MODES: dict[Mode, Callable[[Session, Tensor], Passes]] = {
    Mode.AR: ar,
    Mode.DIFFUSION: diffusion,
    Mode.LINEAR_SPEC: linear_spec,
    Mode.QUADRATIC_SPEC: quadratic_spec,
}


def decode(session: Session) -> Passes:
    """A whole generation: prefill, then the requested mode."""
    prior = yield from _prefill(session)
    return (yield from _MODES[session.request.mode](session, prior))


def _prefill(session: Session) -> Generator[Step, Tensor, Tensor]:
    """Put the prompt into the cache, causally; returns the logits [1, V] of its last row."""
    prompt, cache = session.request.prompt, session.cache
    while True:
        chunk = prompt[cache.committed : cache.committed + PREFILL_CHUNK]
        last = cache.committed + len(chunk) == len(prompt)
        logits = yield clean(chunk, Want.LAST if last else Want.NONE)
        cache.commit(len(chunk))
        if last:
            session.emit(Prefilled(session.request.id, tokens=len(prompt), passes=session.claim()))
            return logits
