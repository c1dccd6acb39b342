"""Causal text as a gate sees it: neighbouring runs and rounds, judged together once they hold `CAUSAL_UNIT` tokens."""

from __future__ import annotations

from engine.events import RunDecoded, SpecRound
from engine.gates import CAUSAL_UNIT, BlockFacts, recorded_mean, recorded_min
from engine.request import Mode


class CausalUnit:
    """The events of one unit so far."""

    def __init__(self) -> None:
        self._start: int | None = None
        self._logprob: list[float] = []
        self._mode = Mode.AR
        self._passes = self._drafts = self._accepted = 0

    @property
    def tokens(self) -> int:
        """Output tokens so far."""
        return len(self._logprob)

    @property
    def full(self) -> bool:
        """Whether it is time to judge."""
        return self.tokens >= CAUSAL_UNIT

    def add(self, event: RunDecoded | SpecRound) -> None:
        """One more event; a unit that holds any speculation counts as speculation."""
        if self._start is None:
            self._start = event.start
        self._logprob += event.logprob
        self._passes += event.forwards
        if isinstance(event, SpecRound):
            self._mode = Mode.LINEAR_SPEC
            self._drafts += len(event.draft) - 1
            self._accepted += event.matched

    def facts(self, index: int) -> BlockFacts:
        """The unit's figures."""
        return BlockFacts(
            index=index,
            start=self._start or 0,
            mode=self._mode.value,
            tokens=self.tokens,
            attempt=0,
            steps=self._passes,
            revisions=0,
            logprob_mean=recorded_mean(self._logprob),
            logprob_min=recorded_min(self._logprob),
            acceptance=recorded_mean([self._accepted / self._drafts]) if self._drafts else None,
        )
