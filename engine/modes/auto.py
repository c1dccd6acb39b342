"""`auto`: the causal mode that suits the load, chosen anew at every border and said in a note whenever it changes.

A pass costs about the same up to some 180 rows (the knee of a GPU's roofline), so few generations speculate in long blocks,
more in shorter ones, and many decode one row each. The text is that of `ar` whatever is chosen.
"""

from __future__ import annotations

from collections.abc import Generator

from engine.events import NoteKind
from engine.modes.ar import RUN, Run, stretch
from engine.modes.linear_spec import Seed, begin, opening_draft, round_of
from engine.modes.quadratic_spec import quadratic_spec
from engine.plan import Step
from engine.request import Mode
from engine.sampling import Picks
from engine.session import Session

LOADS = ((4, 32), (11, 16), (22, 8))
"""Up to so many generations, speculate in blocks of so many tokens; beyond, decode in `ar`."""


def first_choice(session: Session, step: Step, size: int) -> Step:
    """The prompt's last pass, as whatever is chosen for the beginning would have it."""
    chosen = size if _only_quadratic(session) else choose(session.request.modes_permitted, session.load(), size)
    return opening_draft(session, step, chosen)


def auto(session: Session, first: Picks) -> Generator[Step, Picks, None]:
    """Decode from what `first_choice` gave, never in a mode that is not permitted."""
    permitted = session.request.modes_permitted
    if _only_quadratic(session):
        session.note(NoteKind.MODE_SWITCH, f"auto: {Mode.QUADRATIC_SPEC}, the only causal mode permitted")
        yield from quadratic_spec(session, first)
        return
    seed = begin(session, first)
    chosen = 0
    while session.ended is None:
        load, before = session.load(), chosen
        chosen = choose(permitted, load, session.request.block_length)
        drafts = chosen > 1 or Mode.AR not in permitted
        if chosen != before:
            mode = f"{Mode.LINEAR_SPEC} in blocks of {chosen}" if drafts else str(Mode.AR)
            session.note(NoteKind.MODE_SWITCH, f"auto: {mode} at a load of {load}")
        seed = yield from (round_of(session, seed, chosen) if drafts else _stretch(session, seed.token))


def _only_quadratic(session: Session) -> bool:
    return session.request.modes_permitted.isdisjoint((Mode.AR, Mode.LINEAR_SPEC))


def choose(permitted: frozenset[Mode], load: int, longest: int) -> int:
    """The block length for a load of so many generations, at most `longest`; 1 is `ar` where that is permitted."""
    if Mode.LINEAR_SPEC not in permitted:
        return 1
    fallback = 1 if Mode.AR in permitted else LOADS[-1][1]
    block = next((block for most, block in LOADS if load <= most), fallback)
    return min(block, longest)


def _stretch(session: Session, seed: int) -> Generator[Step, Picks, Seed]:
    """One run's worth of single tokens."""
    with Run(session, RUN) as run:
        return Seed((yield from stretch(session, run, seed, RUN)))
