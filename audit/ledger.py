"""One tenant's log in the writer's memory: where it stands, its Merkle frontier, and its signer.

A ledger numbers records, follows what was committed, and signs checkpoints. It is rebuilt from stored leaves,
never from a saved copy, and refuses a log that is shorter than, or different from, the one already signed.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from urllib.parse import quote
from uuid import UUID

from audit.durable import appending, ending
from audit.errors import LogUnavailable, NoteInvalid
from audit.header import Blank, leaf_hash
from audit.merkle import CompactRange
from audit.note import tree_of
from audit.rows import Leaf, Numbered
from audit.signer import Signer

_TAIL_BYTES = 512 * 1024


class LogRolledBack(LogUnavailable):
    """The stored log is not the one that was signed: restored from an old backup, or changed."""


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """A record that has its id and ciphertext but no place yet; `request` and `kind` are those of its header."""

    request: UUID | None
    kind: int
    blank: Blank
    sealed: bytes


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A signed tree head: `note` is the C2SP checkpoint over `size` records and `root` (32 bytes)."""

    size: int
    root: bytes
    note: str


def log_origin(origin: str, tenant: str) -> str:
    """The name under which one tenant's log is signed: the installation's origin, a slash, the tenant."""
    return f"{origin}/{tenant}"


def checkpoint_file(keys: Path, origin: str) -> Path:
    """Where each checkpoint of the log `origin` is kept beside the keys, outside of the database: one JSON string a line."""
    return keys / "checkpoints" / f"{quote(origin, safe='')}.jsonl"


def kept_note(line: bytes) -> str | None:
    """The note on a line of such a file; None for a line that is torn or damaged."""
    try:
        note = json.loads(line)
        if isinstance(note, str):
            tree_of(note)
            return note
    except (ValueError, RecursionError, NoteInvalid):
        pass
    return None


def newest_kept(file: Path) -> tuple[str, ...]:
    """The last whole note of a file of checkpoints, whatever a crash has torn around it; none if there is none."""
    if not file.exists():
        return ()
    with file.open("rb") as lines:
        lines.seek(max(0, file.stat().st_size - _TAIL_BYTES), os.SEEK_SET)
        ended = lines.read().split(b"\n")[:-1]
    return next(((note,) for line in reversed(ended) if (note := kept_note(line)) is not None), ())


class Ledger:
    """The state of one tenant's log; owned by one writer. A signature may be under way, in a thread, while the log grows."""

    def __init__(self, tenant: str, keys: Path, origin: str) -> None:
        self.tenant = tenant
        self.last_ts = 0
        self._signer = Signer(keys, log_origin(origin, tenant))
        self._tree = CompactRange()
        self._unsigned: list[bytes] = []
        self._growing = Lock()
        self._filed = -1  # size of the last note in the file; unknown at first, so the first note is always added
        self._file = checkpoint_file(keys, log_origin(origin, tenant))

    @property
    def next_seq(self) -> int:
        """The seq of the next record, which is the size of the tree."""
        return self._tree.size

    @property
    def vkey(self) -> str:
        """The key that verifies this log's checkpoints."""
        return self._signer.vkey

    def follow(self, leaves: Iterable[Leaf]) -> None:
        """Follow stored leaves from `next_seq` on; raises LogRolledBack when they contradict what was signed."""
        with self._growing:
            for item in leaves:
                if item.seq != self.next_seq:
                    raise LogRolledBack(f"log {self.tenant!r} has a gap before record {item.seq}: run verify on an export")
                self._grow(item.leaf, item.ts)

    def require_signed(self) -> None:
        """Raises LogRolledBack when the log, all of which was followed, is shorter than the one that was signed."""
        if self.next_seq < self._signer.size:
            raise LogRolledBack(
                f"log {self.tenant!r} has {self.next_seq} records but {self._signer.size} were signed: "
                "the database went back in time; restore the newer one"
            )

    def number(self, records: Sequence[SealedRecord], now: int) -> tuple[Numbered, ...]:
        """Give records their seq and time (`now` in microseconds, never before the last record)."""
        ts = max(now, self.last_ts)
        return tuple(_numbered(record, self.next_seq + index, ts) for index, record in enumerate(records))

    def committed(self, records: Sequence[Numbered]) -> None:
        """Follow records that are now durable."""
        with self._growing:
            for record in records:
                self._grow(record.leaf, record.ts)

    def sign(self) -> SignedCheckpoint:
        """Sign the tree as it stands and add the note to the checkpoint file. Blocks on the disk.

        Raises SigningRefused; a tree that is already signed gets the same note again.
        """
        with self._growing:
            size, root, leaves = self._tree.size, self._tree.root(), tuple(self._unsigned)
        note = self._signer.sign(size, root, leaves)
        with self._growing:  # what has come since stays due
            del self._unsigned[: max(0, len(self._unsigned) - (self._tree.size - size))]
        if size != self._filed:
            with appending(self._file) as file:
                file.write(ending(file) + json.dumps(note).encode() + b"\n")
            self._filed = size
        return SignedCheckpoint(size, root, note)

    def _grow(self, leaf: bytes, ts: int) -> None:
        if self._tree.size + 1 == self._signer.size:
            self._require_root(leaf)
        if self._tree.size >= self._signer.size:
            self._unsigned.append(leaf)
        self._tree.append(leaf)
        self.last_ts = max(self.last_ts, ts)

    def _require_root(self, leaf: bytes) -> None:
        """Raises LogRolledBack when the tree with this leaf is not the signed one; then the leaf is not followed."""
        grown = self._tree.copy()
        grown.append(leaf)
        if grown.root() != self._signer.root:
            raise LogRolledBack(
                f"the first {grown.size} records of log {self.tenant!r} are not those that were signed: "
                "the database was changed; export it and run verify"
            )


def _numbered(record: SealedRecord, seq: int, ts: int) -> Numbered:
    raw = record.blank.at(seq, ts)
    return Numbered(seq, ts, record.request, record.kind, raw, leaf_hash(raw), record.sealed)


def body_digest(sealed: bytes) -> bytes:
    """What a header commits to: SHA-256 of the sealed body."""
    return hashlib.sha256(sealed).digest()
