"""The newest tree of each log that witnesses have seen: they are asked, and the note with their cosignatures is kept.

Witnesses are asked one after the other about the same tree, so that several meet on one note. The newest is enough, since its
root commits to every record before. It lies beside the keys; a lost one is asked for again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from audit.durable import locked, make_folder, write_durably
from audit.errors import AuditError
from audit.note import MAX_SIGNATURES, VerifierKey, decode_vkey, open_checkpoint, split_note, tree_of, verify_note
from audit.outbound import BadAddress, Unreachable, http_url
from audit.quorum import Quorum
from audit.signer import known_keys
from audit.tiles import WIDTH, Tile, TileReader
from audit.witnessing import LogUnwatched, WitnessElsewhere, cosign_from_tiles

BACKOFF_FIRST, BACKOFF_MOST = 5.0, 300.0
MOST_KEYS = MAX_SIGNATURES - 2
"""Beside the two of the log."""
FORM = "a witness is its URL and, behind it, the verifier keys that it prints at its start"


@dataclass(frozen=True, slots=True)
class WitnessPlace:
    """A witness: the URL before `/add-checkpoint`, and the keys of its name."""

    url: str
    keys: tuple[VerifierKey, ...]

    @property
    def name(self) -> str:
        """What it signs as."""
        return self.keys[0].name

    def has_seen(self, note: str) -> bool:
        """Whether a line under one of its keys stands on the note."""
        known = {(key.name, key.key_id) for key in self.keys}
        return any((name, stamp[:4]) in known for name, stamp in split_note(note).stamps)


def witness_places(words: Sequence[str]) -> tuple[WitnessPlace, ...]:
    """Witnesses as they are spelled one after the other: `URL KEY... URL KEY...`. Raises BadAddress or NoteInvalid."""
    found: list[tuple[str, list[VerifierKey]]] = []
    for word in words:
        if "://" in word:
            http_url(word)
            found.append((word, []))
        elif not found:
            raise BadAddress(FORM)
        else:
            found[-1][1].append(decode_vkey(word))
    names = [{key.name for key in keys} for _, keys in found]
    if any(len(each) != 1 for each in names) or len(set().union(*names)) != len(names):
        raise BadAddress(f"{FORM}, which have one name, another for each witness")
    if sum(len(keys) for _, keys in found) > MOST_KEYS:
        raise BadAddress(f"a note has room for the lines of {MOST_KEYS} keys of witnesses")
    if found:
        Quorum(1, tuple(key for _, keys in found for key in keys))  # keys of a log cosign nothing, and one key is one witness
    return tuple(WitnessPlace(url, tuple(keys)) for url, keys in found)


class CosignedNotes:
    """One note for each log in a folder beside the keys; safe for several processes."""

    def __init__(self, keys: Path, places: Sequence[WitnessPlace] = ()) -> None:
        """`places` are the witnesses that are named now: of earlier ones nobody here can verify a line."""
        self._keys, self._folder = keys, keys / "cosigned"
        self._witnesses = tuple(key for place in places for key in place.keys)
        self._verified: dict[str, str] = {}

    def newest(self, origin: str) -> str | None:
        """The newest note of a log that a witness has cosigned, None if there is none of which every signature is right."""
        try:
            note = self._file(origin).read_text(encoding="utf-8")
            if note != self._verified.get(origin):
                open_checkpoint(note, known_keys(self._keys, origin), origin)
                verify_note(split_note(note), self._witnesses)
                self._verified[origin] = note
        except (OSError, UnicodeDecodeError, AuditError):
            return None
        return note

    def damaged(self, origin: str) -> bool:
        """Whether a note is kept of which nothing may be believed."""
        return self._file(origin).exists() and self.newest(origin) is None

    def keep(self, note: str) -> None:
        """Keep a note, unless one of a larger tree or of as many signatures is here."""
        tree = tree_of(note)
        make_folder(self._folder)
        with locked(self._folder):
            kept = self.newest(tree.origin)
            if kept is None or _weight(kept) < _weight(note):
                write_durably(self._file(tree.origin), note.encode())

    def _file(self, origin: str) -> Path:
        return self._folder / f"{quote(origin, safe='')}.note"


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of asking one witness about one log; `trouble` is empty when it cosigned."""

    witness: str
    origin: str
    size: int
    trouble: str = ""
    unwatched: bool = False
    """Whether the trouble is that it does not know this log."""


@dataclass(slots=True)
class _Rest:
    """A question that was not answered is put again after a pause that doubles."""

    until: float = 0.0
    pause: float = field(default=BACKOFF_FIRST / 2)

    def prolong(self, now: float) -> None:
        self.pause = min(2 * self.pause, BACKOFF_MOST)
        self.until = now + self.pause


class Cosigning:
    """Asks the witnesses; owned by one thread."""

    def __init__(
        self, places: Sequence[WitnessPlace], notes: CosignedNotes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._places, self._notes, self._clock = places, notes, clock
        self._sizes: dict[tuple[str, str], int] = {}
        self._rests: dict[tuple[str, str], _Rest] = {}

    def ask(self, newest: str, log: TileReader) -> Iterator[Asked]:
        """Have a log's newest note cosigned by every witness that has not seen its tree, and keep it after each that does.

        `log` has the tiles of at least that tree. Who did not answer, or refused this log, is left alone for a while. A kept
        note that more have seen gives way only when all were asked.
        """
        tree = tree_of(newest)
        kept = self._notes.newest(tree.origin)
        note = first = kept if kept is not None and tree_of(kept) == tree else newest
        for place in self._places:
            if place.has_seen(note) or self._rests_now(place, tree.origin):
                continue
            here = (place.name, tree.origin)
            try:
                note = cosign_from_tiles(place.url, note, log, place.keys, self._sizes.get(here, 0))
                if kept is None or len(_names(kept)) <= len(_names(note)):
                    self._notes.keep(note)
            except AuditError as error:
                away = (place.name, "") if isinstance(error, Unreachable) else here
                passing = away not in self._rests and _overtaken(error, log)
                self._rests.setdefault(away, _Rest()).prolong(self._clock())
                if not passing:
                    yield Asked(*here, tree.size, f"{type(error).__name__}: {error}", isinstance(error, LogUnwatched))
            else:
                self._sizes[here] = tree.size
                for each in (here, (place.name, "")):
                    self._rests.pop(each, None)
                yield Asked(*here, tree.size)
        if note != first:
            self._notes.keep(note)

    def _rests_now(self, place: WitnessPlace, origin: str) -> bool:
        """A witness that cannot be reached rests for all logs."""
        rests = (self._rests.get((place.name, about)) for about in ("", origin))
        return any(rest is not None and self._clock() < rest.until for rest in rests)


def _overtaken(error: AuditError, log: TileReader) -> bool:
    """Whether the witness has seen a tree that the log has by now: another gateway may have shown it that meanwhile."""
    if not isinstance(error, WitnessElsewhere) or error.size == 0:
        return False
    index, width = divmod(error.size - 1, WIDTH)
    return log.tile(Tile(0, index, width + 1)) is not None


def _names(note: str) -> set[str]:
    return {name for name, _ in split_note(note).stamps}


def _weight(note: str) -> tuple[int, int]:
    return tree_of(note).size, len(split_note(note).stamps)
