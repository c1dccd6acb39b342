"""Held answers that wait for people, counted in the tables when somebody asks for the numbers.

A database that does not answer holds nobody up: what is not known in time is left out, and one thread at a time asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry.metrics import Observation
from sqlalchemy.exc import SQLAlchemyError

from gateway.projections.held import Held

PATIENCE_SECONDS: Final = 2.0


class HeldAnswers:
    """What was counted last. Lives on the event loop."""

    def __init__(self, count: Callable[[], Held]) -> None:
        """`count` blocks and may raise SQLAlchemyError."""
        self._count = count
        self._asking: asyncio.Task[Held | None] | None = None
        self._found: Held | None = None

    async def look(self) -> None:
        """Count anew, for two seconds at most."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        done, _ = await asyncio.wait({self._asking}, timeout=PATIENCE_SECONDS)
        self._found = self._asking.result() if done else None

    def by_state(self) -> Iterable[Observation] | None:
        """How many wait for a decision, and how many that were let go wait for their client."""
        if self._found is None:
            return None
        states = {"pending": self._found.pending, "approved": self._found.approved}
        return [Observation(count, {"state": state}) for state, count in states.items()]

    def oldest_seconds(self) -> float | None:
        """For how long the oldest undecided one has waited; 0 where none waits."""
        return None if self._found is None else self._found.oldest_seconds

    async def _ask(self) -> Held | None:
        try:
            return await asyncio.to_thread(self._count)
        except SQLAlchemyError:
            return None
