"""Shows the newest checkpoint of every log to the witnesses that were named, while the gateway runs.

A log signs about once a second, witnesses are asked every few: so that several see the same tree, and so that the price does
not grow with the traffic. Nothing waits for a witness but an export, for a few seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from audit.cosigning import Asked, CosignedNotes, Cosigning, WitnessPlace, witness_places
from audit.errors import AuditError
from audit.kept_anchors import log_of_checkpoints
from audit.note import tree_of
from audit.tilelog import CHECKPOINT
from audit.writer import SYSTEM
from gateway.errands import Errands
from gateway.evidence import Evidence
from gateway.metrics.counted import Counted
from gateway.settings import SettingsError

ROUND_SECONDS: Final = 5.0
_log = structlog.get_logger(__name__)


def named_witnesses(words: Sequence[str]) -> tuple[WitnessPlace, ...]:
    """The witnesses of PALIMPSEST_WITNESSES. Raises SettingsError for one that cannot be used."""
    try:
        return witness_places(words)
    except AuditError as error:
        raise SettingsError(f"PALIMPSEST_WITNESSES: {error}") from error


class Witnesses(Errands):
    """One thread, which goes round all logs; without a witness none."""

    def __init__(self, words: Sequence[str], keys: Path, evidence: Evidence, tenants: Callable[[], Iterable[str]]) -> None:
        """`words` are those of PALIMPSEST_WITNESSES, `keys` is the keys folder. Raises SettingsError."""
        self._places = places = named_witnesses(words)
        self._notes = CosignedNotes(keys, places)
        self._cosigning = Cosigning(places, self._notes)
        self._evidence, self._tenants = evidence, tenants
        self._troubles: dict[tuple[str, str], str] = {}
        self._damaged: set[str] = set()
        self.names = tuple(place.name for place in places)
        known = [(name,) for name in self.names]
        self.cosigned, self.failures = Counted("witness", known=known), Counted("witness", known=known)
        super().__init__([("witnesses", self._go_round)] if places else [])

    def troubles(self, origin: str) -> dict[str, str]:
        """By witness, why it did not cosign this log when it was last asked; those that did are not here."""
        return {witness: trouble for (witness, log), trouble in list(self._troubles.items()) if log == origin}

    def by_anchors(self, origin: str) -> tuple[str, ...]:
        """The witnesses that see this log as the log of checkpoints, which they cosign, tells of it."""
        system = log_of_checkpoints(origin)
        note = None if origin == system else self._notes.newest(system)
        return tuple(place.name for place in self._places if note is not None and place.has_seen(note))

    def _go_round(self, stopping: Event) -> None:
        while not stopping.is_set():
            with suppress(SQLAlchemyError):  # the database is away, as others say
                for tenant in (SYSTEM, *self._tenants()):
                    with suppress(AuditError):  # the same, or this log is spoiled, as whoever reads or verifies it is told
                        self._show(tenant)
                    if stopping.is_set():
                        return
            stopping.wait(ROUND_SECONDS)

    def _show(self, tenant: str) -> None:
        log = self._evidence.log(tenant)
        newest = log.resource(CHECKPOINT)
        if newest is not None:
            tree = tree_of(newest.decode())
            self._look_at_kept(tree.origin)
            for asked in self._cosigning.ask(newest.decode(), log):
                self._tell(asked)
            kept = self._notes.newest(tree.origin)
            if kept is not None and tree_of(kept) == tree:
                for name in [place.name for place in self._places if place.has_seen(kept)]:
                    self._has_passed(name, tree.origin)  # another gateway may have had it cosigned

    def _look_at_kept(self, origin: str) -> None:
        damaged = self._notes.damaged(origin)
        if damaged and origin not in self._damaged:
            _log.warning("checkpoint.cosigned_damaged", log=origin)
        (self._damaged.add if damaged else self._damaged.discard)(origin)

    def _tell(self, asked: Asked) -> None:
        here = (asked.witness, asked.origin)
        if asked.unwatched and asked.witness in self.by_anchors(asked.origin):
            self._troubles.pop(here, None)
            return
        (self.failures if asked.trouble else self.cosigned).add(asked.witness)
        if not asked.trouble:
            self._has_passed(*here)
        elif self._troubles.get(here) != asked.trouble:
            self._troubles[here] = asked.trouble
            _log.warning("checkpoint.not_cosigned", witness=asked.witness, log=asked.origin, error=asked.trouble)

    def _has_passed(self, witness: str, origin: str) -> None:
        if self._troubles.pop((witness, origin), None) is not None:
            _log.info("checkpoint.cosigned_again", witness=witness, log=origin)
