"""A log that cannot commit, and so a change that stays half way."""

from __future__ import annotations

from collections.abc import Sequence

from audit.errors import LogUnavailable
from audit.writer import Entry, Range


class Away:
    """A log that cannot commit now."""

    async def append(self, entries: Sequence[Entry], linger: float = 0.0) -> Range:
        """Never succeeds."""
        raise LogUnavailable("the log is away")

    def hurry(self, linger: float = 0.0) -> None:
        """Nobody waits."""
