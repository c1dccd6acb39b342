"""Whose time a pass was: the device's seconds are shared out among the generations that had rows in it, by their rows.

So the shares of all generations add up to the time in which the engine was busy with passes, those that failed included. On
a CPU the device is the processor that ran the pass.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from engine.chain import Link


@contextmanager
def charged(links: Sequence[Link]) -> Iterator[None]:
    """The body runs passes, which `links` has at its end; the time that it takes is charged to their turns, however it ends."""
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds, rows = time.perf_counter() - began, sum(link.plan.size for link in links)
        for link in links:
            for turn in link.turns:
                turn.live.session.busy += seconds * turn.step.frame.size / rows
