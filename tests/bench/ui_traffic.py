"""A year's worth of requests in one sitting: synthetic bodies, sealed and committed by the real writer in large batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from typing import Final

from audit.records import Body
from audit.writer import Entry, Writer
from tests.gateway.projections.histories import POLICY, Request

CALLERS: Final = tuple(f"key-{number}" for number in range(40))
MODES: Final = ("ar", "diffusion", "linear_spec", "quadratic_spec")
ENDS: Final = {
    "answered": 900, "released": 30, "refused": 25, "blocked": 15, "cut": 12, "rejected": 6, "failed": 4, "expired": 3,
    "edited": 2, "cancelled": 2, "abandoned": 1,
}  # fmt: skip
"""Of a thousand requests, how many end so."""
REQUESTS: Final = 128
"""Of one append: some 900 records, so that one commit stores them all."""
AT_ONCE: Final = 4


class Traffic:
    """Draws requests by a seed; the same seed draws the same."""

    def __init__(self, tenant: str, seed: int = 1) -> None:
        self._tenant, self._random = tenant, Random(seed)
        self._bodies: dict[tuple[str, str], tuple[Body, ...]] = {}

    def requests(self, generations: int, approvals: int) -> Iterator[list[Entry]]:
        """The records of so many requests, of which `approvals` wait for people, evenly among the others."""
        waiting, every = approvals, max(1, generations // max(1, approvals))
        names, weights = list(ENDS), list(ENDS.values())
        for number in range(generations):
            holds = waiting > 0 and (number % every == 0 or generations - number <= waiting)
            waiting -= holds
            yield self._request("held" if holds else self._random.choices(names, weights)[0])

    def _request(self, name: str) -> list[Entry]:
        mode, caller = self._random.choice(MODES), self._random.choice(CALLERS)
        if (name, mode) not in self._bodies:
            entries = Request(name, mode, caller).rest(self._tenant)
            self._bodies[name, mode] = tuple(entry.body for entry in entries)
        own = Request(name, mode, caller).id
        return [Entry(self._tenant, own, caller, POLICY, body) for body in self._bodies[name, mode]]


async def write(writer: Writer, requests: Iterator[list[Entry]], tell: Callable[[int], None]) -> None:
    """Append all of them, a few batches at once; `tell` hears how many requests each commit had."""

    async def lane() -> None:
        while batch := list(islice(requests, REQUESTS)):
            await writer.append([entry for request in batch for entry in request])
            tell(len(batch))

    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
