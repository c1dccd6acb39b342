"""Carries every signed checkpoint out of the house, while the gateway runs: one thread for each place that was named.

What is still to be carried is derived from the checkpoint files beside the keys and a durable cursor, so that a place that is
away, or a gateway that was killed, delays a checkpoint and never loses one. A place in trouble holds up no other and no answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Final

import structlog

from audit.destinations import open_destination
from audit.outbound import BadAddress
from audit.shipping import BACKOFF_FIRST, BACKOFF_MOST, IDLE_SECONDS, Destination, Progress, Shipper
from gateway.settings import SettingsError

STOP_SECONDS: Final = 5.0
_log = structlog.get_logger(__name__)


def destinations(places: Sequence[str], keys: Path, environment: Mapping[str, str]) -> list[Destination]:
    """The places of PALIMPSEST_SHIP_TO. Raises SettingsError for one that cannot be used."""
    found: list[Destination] = []
    for place in places:
        try:
            found.append(open_destination(place, keys / "receipts", environment))
        except BadAddress as error:
            raise SettingsError(f"PALIMPSEST_SHIP_TO: {error}") from error
    return found


class Carrier:
    """The threads. `start` and `stop` belong to the event loop's thread, and neither waits for a place that is away."""

    def __init__(self, keys: Path, places: Sequence[Destination]) -> None:
        self._keys = keys
        self._stopping = Event()
        self._troubles: dict[str, str] = {}
        self._threads = [
            Thread(target=self._carry, args=(place,), name=f"carrier {place.name}", daemon=True) for place in places
        ]

    def start(self) -> None:
        """Begin, with whatever earlier processes left behind."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the note that is under way; what is left waits for the next start."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(STOP_SECONDS)

    def _carry(self, place: Destination) -> None:
        shippers: dict[Path, Shipper] = {}
        delay = 0.0
        while not self._stopping.wait(delay):
            for file in sorted((self._keys / "checkpoints").glob("*.jsonl")):
                if file not in shippers:
                    shippers[file] = Shipper(file, place, self._keys / "shipped")
            done = [shipper.step() for shipper in shippers.values() if not self._stopping.is_set()]
            self._tell(place.name, done)
            delay = self._pause(delay, done)

    def _tell(self, place: str, done: Sequence[Progress]) -> None:
        trouble = next((progress.trouble for progress in done if progress.trouble), "")
        damaged = sum(progress.damaged for progress in done)
        if damaged:
            _log.error("checkpoints.damaged", place=place, lines=damaged)
        if trouble and self._troubles.get(place) != trouble:
            _log.warning("checkpoints.not_shipped", place=place, waiting=sum(each.waiting for each in done), error=trouble)
        if trouble:
            self._troubles[place] = trouble
        elif self._troubles.pop(place, None):
            _log.info("checkpoints.shipping_again", place=place)

    @staticmethod
    def _pause(delay: float, done: Sequence[Progress]) -> float:
        if any(progress.trouble for progress in done):
            return min(max(BACKOFF_FIRST, 2 * delay), BACKOFF_MOST)
        return 0.0 if any(progress.waiting for progress in done) else IDLE_SECONDS
