"""Keys that were just found valid, so that a client who asks again and again does not have the tables asked each time.

What is remembered is a second old at most: a key that is revoked, or whose user is disabled, opens nothing a second later, in
every gateway. Only valid keys are remembered, by their digests, and no more than `MOST` of them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from gateway.metrics.counted import Counted
from gateway.registry import Subject, digest

LASTS: Final = 1.0
"""Seconds; policies are looked at as often."""
MOST: Final = 4096
CAUSES: Final = ("absent", "unknown", "session", "metrics_token")
"""Why an answer is 401: no key, an unknown or revoked one, no session, a wrong token for the numbers."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """Whose key it is, and when (monotonic seconds) that is to be asked again."""

    subject: Subject
    until: float


class Keyring:
    """Lives on the event loop."""

    def __init__(self, find: Callable[[str], Subject | None], lasts: float = LASTS) -> None:
        """`find` is `Registry.find`, which blocks."""
        self._find, self._lasts = find, lasts
        self._seen = OrderedDict[bytes, _Seen]()
        self.refused = Counted("cause", known=((cause,) for cause in CAUSES))
        """The only trace of a 401: nobody is known in whose log it could stand."""

    async def find(self, key: str) -> Subject | None:
        """The holder of a valid key, as the tables had it not long ago or have it now. Raises what `Registry.find` raises."""
        name, now = digest(key), monotonic()
        seen = self._seen.get(name)
        if seen is not None and now < seen.until:
            return seen.subject
        found = await asyncio.to_thread(self._find, key)
        self._seen.pop(name, None)
        if found is not None:
            self._seen[name] = _Seen(found, now + self._lasts)
            if len(self._seen) > MOST:
                self._seen.popitem(last=False)
        return found
