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
from audit.shipping import Destination, Progress, carry
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
        self._places = tuple(place.name for place in places)
        self._last: dict[str, Progress] = {}
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

    def standing(self) -> dict[str, Progress | None]:
        """By place, the last step that this process made there and what met it; None where nothing was to be carried yet."""
        return {name: self._last.get(name) for name in self._places}

    def _carry(self, place: Destination) -> None:
        carry(self._keys / "checkpoints", place, self._keys / "shipped", self._stopping, self._tell)

    def _tell(self, progress: Progress) -> None:
        place, trouble = progress.destination, progress.trouble
        self._last[place] = progress
        if progress.damaged:
            _log.error("checkpoints.damaged", place=place, lines=progress.damaged)
        if trouble and self._troubles.get(place) != trouble:
            self._troubles[place] = trouble
            _log.warning("checkpoints.not_shipped", place=place, waiting=progress.waiting, error=trouble)
        elif not trouble and place in self._troubles:
            del self._troubles[place]
            _log.info("checkpoints.shipping_again", place=place)
