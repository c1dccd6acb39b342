"""Carrying every checkpoint to a place that whoever can write the database cannot.

What is still to be shipped is never remembered but derived: the file of all checkpoints, which the signer appends to,
less a durable cursor per destination. So a crash, a full disk or a dead network delays a checkpoint and never loses
one; at worst it arrives twice, which every destination takes in its stride.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import BinaryIO, Protocol
from urllib.parse import quote

from audit.durable import locked, make_folder, write_durably
from audit.errors import AuditError
from audit.ledger import kept_note
from audit.note import MAX_NOTE_BYTES

BATCH = 256
IDLE_SECONDS = 1.0
BACKOFF_FIRST, BACKOFF_MOST = 1.0, 300.0
_MAX_LINE_BYTES = 6 * MAX_NOTE_BYTES + 3  # JSON escapes at most sixfold


class ShippingFailed(AuditError):
    """The destination did not take the checkpoint; it will be offered again."""


class Destination(Protocol):
    """A place outside the database. Its name is stable and holds no secret: the cursor is kept under it."""

    @property
    def name(self) -> str:
        """Where this is, for people and for the cursor."""

    def ship(self, note: str) -> None:
        """Deliver one signed note and return when it is there, as far as the place can tell.

        Harmless to repeat. Raises ShippingFailed or another AuditError, or OSError.
        """


@dataclass(frozen=True, slots=True)
class Progress:
    """What one step achieved: notes shipped, notes still waiting, damaged lines passed over, and what went wrong."""

    destination: str
    shipped: int
    waiting: int
    damaged: int
    trouble: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last line done: its first byte, the byte after it, and the SHA-256 of its bytes in hex."""

    start: int = 0
    stop: int = 0
    sha256: str = hashlib.sha256(b"").hexdigest()


class Shipper:
    """Carries one file of checkpoints to one destination."""

    def __init__(self, checkpoints: Path, destination: Destination, folder: Path) -> None:
        """`checkpoints` holds one JSON string a line, each a note; the cursor lives in `folder`."""
        self._file, self._destination = checkpoints, destination
        self._folder = folder / folder_name(destination.name) / checkpoints.stem
        self._cursor = self._folder / "cursor.json"
        make_folder(self._folder)

    def step(self) -> Progress:
        """Ship up to BATCH waiting notes, oldest first, and stop at the first that fails. Never raises for that."""
        if not self._file.exists():
            gone = f"{self._file} is gone; restore it from its backup" if self._cursor.exists() else ""
            return Progress(self._destination.name, 0, 0, 0, gone)
        shipped = damaged = waiting = 0
        trouble = ""
        try:
            with locked(self._folder), self._file.open("rb") as file:
                try:
                    for cursor, note in self._pending(file):
                        if note is None:
                            damaged += 1
                        else:
                            self._destination.ship(note)
                            shipped += 1
                        write_durably(self._cursor, json.dumps(asdict(cursor)).encode())
                finally:
                    waiting = _count_lines(file, self._load(file).stop)
        except (AuditError, OSError) as error:
            trouble = f"{type(error).__name__}: {error}"
        return Progress(self._destination.name, shipped, waiting, damaged, trouble)

    def _pending(self, file: BinaryIO) -> Iterator[tuple[Cursor, str | None]]:
        """The next lines with the cursor behind each; None for a line that holds no note. A torn last line waits."""
        at = self._load(file).stop
        for _ in range(BATCH):
            file.seek(at)
            line = file.readline(_MAX_LINE_BYTES)
            if not line or (len(line) < _MAX_LINE_BYTES and not line.endswith(b"\n")):
                return
            cursor = Cursor(at, at + len(line), hashlib.sha256(line).hexdigest())
            yield cursor, kept_note(line)
            at = cursor.stop

    def _load(self, file: BinaryIO) -> Cursor:
        """The cursor, or the beginning if its line is not in this file: then everything is offered again."""
        try:
            stored = json.loads(self._cursor.read_bytes())
            cursor = Cursor(int(stored["start"]), int(stored["stop"]), str(stored["sha256"]))
            file.seek(max(cursor.start, 0))
            line = file.read(min(max(cursor.stop - cursor.start, 0), _MAX_LINE_BYTES))
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            return Cursor()
        return cursor if hashlib.sha256(line).hexdigest() == cursor.sha256 else Cursor()


def carry(files: Path, destination: Destination, folder: Path, stop: Event, report: Callable[[Progress], None]) -> None:
    """Ship every file of checkpoints in the folder `files`, also those that appear later, until `stop` is set.

    Each step that did or met something is reported; in trouble the pauses double. For a thread of its own, which nothing
    that a destination or a disk does can end.
    """
    shippers: dict[Path, Shipper] = {}
    delay = 0.0
    while not stop.wait(delay):
        done = _round(files, destination, folder, shippers, stop)
        for progress in done:
            if progress.shipped or progress.damaged or progress.trouble:
                report(progress)
        if any(progress.trouble for progress in done):
            delay = min(max(BACKOFF_FIRST, 2 * delay), BACKOFF_MOST)
        else:
            delay = 0.0 if any(progress.waiting for progress in done) else IDLE_SECONDS


def _round(files: Path, destination: Destination, folder: Path, shippers: dict[Path, Shipper], stop: Event) -> list[Progress]:
    """A step of every file that is or was there, each whatever became of the others."""
    try:
        found = {*files.glob("*.jsonl"), *shippers}
    except OSError as error:
        return [_failed(destination, error)]
    done = []
    for file in sorted(found):
        if stop.is_set():
            break
        try:
            if file not in shippers:
                shippers[file] = Shipper(file, destination, folder)
            done.append(shippers[file].step())
        except Exception as error:  # noqa: BLE001 - a host's name alone can raise UnicodeError, and nobody would start again
            done.append(_failed(destination, error))
    return done


def _failed(destination: Destination, error: Exception) -> Progress:
    return Progress(destination.name, 0, 0, 0, f"{type(error).__name__}: {error}")


def folder_name(destination: str) -> str:
    """A short file name for a destination, readable and never that of another one."""
    return f"{quote(destination, safe='')[:100]}-{hashlib.sha256(destination.encode()).hexdigest()[:16]}"


def _count_lines(file: BinaryIO, start: int) -> int:
    file.seek(start)
    return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
