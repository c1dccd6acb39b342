"""Autoregressive decoding: one causal row per pass.

Tokens are told in runs of 1, 2, 4 and then 8, so that the first is seen at once and the record stays small; the cut depends
on counts only, never on a clock.
"""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import Self

from torch import Tensor

from engine.events import FinishReason, RunDecoded
from engine.plan import Step, clean
from engine.sampling import Picks
from engine.session import Session

RUN = 8


def ar(session: Session, prior: Tensor) -> Generator[Step, Tensor, FinishReason]:
    """Decode from the last prefill logits `prior` [1, V]; the first token needs no pass."""
    with _Run(session) as run:
        while True:
            token = run.add(session.sampler.pick(prior, (run.position,)))
            if reason := session.ending(run.ids):
                return reason
            run.tell_when_full()
            prior = yield clean((token,))
            session.cache.commit(1)


class _Run:
    """Tokens that are decided but not yet told; leaving the block tells them, however it is left."""

    def __init__(self, session: Session) -> None:
        self._session, self._size = session, 1
        self.ids: tuple[int, ...] = ()
        self._logprob: tuple[float, ...] = ()

    @property
    def position(self) -> int:
        """Absolute position of the next token."""
        return self._session.position + len(self.ids)

    def add(self, picks: Picks) -> int:
        """Take one pick; returns its id."""
        self.ids += picks.ids
        self._logprob += picks.logprob
        return picks.ids[0]

    def tell_when_full(self) -> None:
        """Tell the run if it is as long as it should get."""
        if len(self.ids) >= self._size:
            self._size = min(RUN, 2 * self._size)
            self._tell()

    def _tell(self) -> None:
        session = self._session
        if self.ids:
            session.emit(RunDecoded(session.request.id, session.position, self.ids, self._logprob, session.claim()))
            self.ids, self._logprob = (), ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._tell()
