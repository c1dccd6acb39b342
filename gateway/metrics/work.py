"""What generations and commits come to, added up as they end."""

from __future__ import annotations

from itertools import product
from typing import Final

from engine.request import Mode
from gateway.generation import End, Generation
from gateway.metrics.counted import Counted
from gateway.metrics.meters import Meters

COMMIT_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_MODES: Final = tuple(mode.value for mode in Mode)


class Work:
    """Generations that have ended, by the mode that was permitted. Lives on the event loop."""

    def __init__(self) -> None:
        by_mode = [(mode,) for mode in _MODES]
        self.generations = Counted("mode", "outcome", known=product(_MODES, (end.value for end in End)))
        self.prompt_tokens = Counted("mode", known=by_mode)
        self.completion_tokens = Counted("mode", known=by_mode)
        self.forwards = Counted("mode", known=by_mode)
        self.busy_seconds = Counted("mode", known=by_mode)

    def ended(self, generation: Generation) -> None:
        """Count one that will do nothing more."""
        mode, finished = generation.admitted.request.mode.value, generation.finished
        self.generations.add(mode, generation.end.value)
        if finished is not None:
            self.prompt_tokens.add(mode, by=finished.prompt_tokens)
            self.completion_tokens.add(mode, by=finished.tokens)
            self.forwards.add(mode, by=finished.forwards)
            self.busy_seconds.add(mode, by=(finished.busy_us or 0) / 1e6)


class Commits:
    """Hears of every commit of the log's writer. Lives on the event loop."""

    def __init__(self, meters: Meters) -> None:
        self.records = 0
        self._seconds = meters.seconds("audit_commit_duration", "From a batch sent to its COMMIT.", COMMIT_BOUNDS)

    def heard(self, records: int, seconds: float) -> None:
        """So many records became durable together."""
        self.records += records
        self._seconds.record(seconds)
