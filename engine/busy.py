"""Whose time a pass was: the device's seconds are shared out among the generations that had rows in it, by their rows.

So the shares of all generations add up to the time in which the engine was busy with passes, those that failed included. On
a CPU the device is the processor that ran the pass.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from engine.scheduler import Turn


@contextmanager
def charged(turns: Sequence[Turn]) -> Iterator[None]:
    """The body is one pass for `turns`; the time that it takes is charged to them, however it ends."""
    began = time.perf_counter()
    try:
        yield
    finally:
        per_row = (time.perf_counter() - began) / sum(turn.step.frame.size for turn in turns)
        for turn in turns:
            turn.live.session.busy += per_row * turn.step.frame.size
