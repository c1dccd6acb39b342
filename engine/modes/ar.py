"""Autoregressive decoding: one causal row per pass.

Tokens are told in runs of 1, 2, 4 and then 8, so that the first is seen at once and the record stays small; the cut depends
on counts only, never on a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import TracebackType
from typing import Final, Self

from engine.events import Event, RunDecoded
from engine.plan import Step, Want, clean_frame
from engine.sampling import Picks
from engine.session import Session

RUN = 8
LONE: Final = clean_frame(1, Want.ALL)
NEXT: Final = (Step((0,), LONE, sources=(0,), kept=1),)
"""A further token: one row behind the pick of the one before."""


def ar(session: Session, first: Picks) -> Generator[Step, Picks, None]:
    """Decode from the pick `first` after the prompt, which needed no pass of its own."""
    with Run(session) as run:
        yield from stretch(session, run, run.add(first), session.request.max_tokens)


def stretch(session: Session, run: Run, seed: int, most: int) -> Generator[Step, Picks, int]:
    """Put the decided token `seed` into the cache and decide the next, `most` times or to the answer's end; the last one."""
    for _ in range(most):
        if session.ended is not None:
            break
        follow = NEXT * min(session.ahead, session.room - 1)  # as far as the answer has room for them
        picks = yield Step((seed,), LONE, allowed=session.allowed(), follow=follow)
        session.commit(1)
        seed = run.add(picks)
    return seed


class Run:
    """Tokens that are decided but not yet told; leaving the block tells them, however it is left."""

    def __init__(self, session: Session, size: int = 1) -> None:
        """The first run has `size` tokens, each further one twice as many, up to RUN."""
        self._session, self._size = session, size
        self._ids: list[int] = []
        self._logprob: list[float] = []
        self._picks: list[Picks] = []

    def add(self, picks: Picks) -> int:
        """Take one pick, and tell the run if it is as long as it should get; returns the id."""
        session = self._session
        session.take(picks.ids)
        self._ids += picks.ids
        self._logprob += picks.logprob
        if session.request.top_logprobs:
            self._picks.append(picks)
        if len(self._ids) >= self._size:
            self._size = min(RUN, 2 * self._size)
            self._tell(session.emit)
        return picks.ids[0]

    def _tell(self, say: Callable[[Event], None]) -> None:
        session = self._session
        if self._ids:
            session.alternatives(self._picks, len(self._ids))
            ids, logprob = tuple(self._ids), tuple(self._logprob)
            self._ids, self._logprob, self._picks = [], [], []
            say(RunDecoded(session.request.id, session.position, ids, logprob, session.claim()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._tell(self._session.emit if kind is None else self._session.say)
