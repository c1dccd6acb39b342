"""Modes as generators: each yields the Steps it needs and is sent the Picks of the rows it wanted.

A mode says its events on the session, at the only place where their meaning is known, and returns once the session has ended.
Closing a generator (abort) or throwing into it (fault) makes it say the unfinished block or round. A mode never asks where
its rows run, beside whom, or whether the cache was taken away and filled again in between.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from engine.events import NoteKind, Prefilled
from engine.modes.ar import ar
from engine.modes.auto import auto, first_choice
from engine.modes.diffusion import diffusion
from engine.modes.linear_spec import linear_spec, opening_draft
from engine.modes.quadratic_spec import quadratic_spec
from engine.plan import Step, Want, clean
from engine.request import Mode
from engine.sampling import Picks
from engine.session import Session

Passes = Generator[Step, Picks, None]

Opening = Callable[[Session, Step, int], Step]
"""What else the prompt's last pass does: for modes that draft, the first block is drafted in it."""

_MODES: dict[Mode, tuple[Callable[[Session, Picks], Passes], Opening | None]] = {
    Mode.AR: (ar, None),
    Mode.DIFFUSION: (diffusion, None),
    Mode.LINEAR_SPEC: (linear_spec, opening_draft),
    Mode.QUADRATIC_SPEC: (quadratic_spec, opening_draft),
    Mode.AUTO: (auto, first_choice),
}


def decode(session: Session) -> Passes:
    """A whole generation: the last piece of the prompt, then the requested mode."""
    rest = session.tokens[session.committed :]
    step = clean(rest, Want.LAST, allowed=session.allowed())
    mode, opening = _MODES[session.mode]
    first = yield step if opening is None else opening(session, step, session.request.block_length)
    session.commit(len(rest))
    session.emit(Prefilled(session.request.id, session.prompt_tokens, session.cached, session.claim()))
    if session.mode is not session.request.mode:
        session.note(NoteKind.MODE_SWITCH, f"{session.request.mode} cannot hold a constraint: running {session.mode}")
    yield from mode(session, first)
