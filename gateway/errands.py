"""Threads that bring something out of the house while the gateway runs, one for each place, so that none holds up another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Final

STOP_SECONDS: Final = 5.0


class Errands:
    """The threads. `start` and `stop` belong to the event loop's thread, and neither waits for a place that is away."""

    def __init__(self, works: Sequence[tuple[str, Callable[[Event], None]]]) -> None:
        """The name of each thread, and what it does until soon after its event is set."""
        self._stopping = Event()
        self._threads = [Thread(target=work, args=(self._stopping,), name=name, daemon=True) for name, work in works]

    def start(self) -> None:
        """Begin, with whatever earlier processes left behind."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after what is under way; what is left waits for the next start."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(STOP_SECONDS)
