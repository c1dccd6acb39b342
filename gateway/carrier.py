"""Carries every signed checkpoint out of the house, while the gateway runs: one thread for each place that was named.

What is still to be carried is derived from the checkpoint files beside the keys and a durable cursor, so that a place that is
away, or a gateway that was killed, delays a checkpoint and never loses one. A place in trouble holds up no other and no answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Event

import structlog

from audit.destinations import open_destination
from audit.outbound import BadAddress
from audit.shipping import Destination, Progress, carry
from gateway.errands import Errands
from gateway.metrics.counted import Counted
from gateway.settings import SettingsError

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


class Carrier(Errands):
    """A thread for each place."""

    def __init__(self, keys: Path, places: Sequence[Destination]) -> None:
        self._keys = keys
        self._troubles: dict[str, str] = {}
        self._places = tuple(place.name for place in places)
        self._last: dict[str, Progress] = {}
        known = [(name,) for name in self._places]
        self.shipped, self.failures = Counted("place", known=known), Counted("place", known=known)
        super().__init__([(f"carrier {place.name}", partial(self._carry, place)) for place in places])

    def standing(self) -> dict[str, Progress | None]:
        """By place, the last step that this process made there and what met it; None where nothing was to be carried yet."""
        return {name: self._last.get(name) for name in self._places}

    def _carry(self, place: Destination, stopping: Event) -> None:
        carry(self._keys / "checkpoints", place, self._keys / "shipped", stopping, self._tell)

    def _tell(self, progress: Progress) -> None:
        place, trouble = progress.destination, progress.trouble
        self._last[place] = progress
        self.shipped.add(place, by=progress.shipped)
        self.failures.add(place, by=bool(trouble))
        if progress.damaged:
            _log.error("checkpoints.damaged", place=place, lines=progress.damaged)
        if trouble and self._troubles.get(place) != trouble:
            self._troubles[place] = trouble
            _log.warning("checkpoints.not_shipped", place=place, waiting=progress.waiting, error=trouble)
        elif not trouble and place in self._troubles:
            del self._troubles[place]
            _log.info("checkpoints.shipping_again", place=place)
