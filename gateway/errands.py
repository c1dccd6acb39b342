"""Threads that bring something out of the house while the gateway runs, one for each place, so that none holds up another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Final

import structlog

STOP_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 60.0
_log = structlog.get_logger(__name__)


class Errands:
    """The threads. `start` and `stop` belong to the event loop's thread, and neither waits for a place that is away."""

    def __init__(self, works: Sequence[tuple[str, Callable[[Event], None]]]) -> None:
        """The name of each thread, and what it does until soon after its event is set; what breaks off is begun again."""
        self._stopping = Event()
        self._threads = [Thread(target=self._run, args=work, name=work[0], daemon=True) for work in works]

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

    def _run(self, name: str, work: Callable[[Event], None]) -> None:
        while not self._stopping.is_set():
            try:
                work(self._stopping)
            except Exception:  # noqa: BLE001 - whatever it is, an errand that nobody runs would be missed by nobody
                _log.exception("errand.failed", errand=name, again_in=AGAIN_SECONDS)
                self._stopping.wait(AGAIN_SECONDS)
            else:
                return
