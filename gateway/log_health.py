"""How a tenant's log stands: its newest checkpoint and who signed it, and a verification of the whole of it, now.

The verification is the offline verifier's own, over an export that discloses nothing, held against the newest checkpoint that
lies outside of the database. Everything here blocks.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from audit.kept_anchors import KeptAnchors, log_of_checkpoints
from audit.ledger import checkpoint_file, log_origin, newest_kept
from audit.note import split_note, tree_of
from audit.signer import Signer
from audit.store import read_tenant
from audit.verify import Report, verify
from gateway.bundles import Disclose, Tail, cosigned_notes, export_log
from gateway.jobs import Watch
from gateway.settings import DatabaseUrl, Settings

SHOWN: Final = 20
PATIENCE_SECONDS: Final = 10.0
WITNESS_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Stamp:
    """A signature line of a checkpoint: whose, and under which key. Told, not verified."""

    name: str
    key_id: bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """One checkpoint."""

    size: int
    root: bytes
    taken_at: datetime
    stamps: tuple[Stamp, ...]
    """The log's own: those of witnesses are not in the database."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest tree that witnesses have cosigned, and which of them."""

    size: int
    witnesses: tuple[Stamp, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """What a log's page tells."""

    origin: str
    records: int
    checkpoints: tuple[Signed, ...]
    """The newest first."""
    seen: Seen | None
    anchored: int
    """Records that the log of checkpoints bears out."""
    vkeys: tuple[str, ...]
    former: tuple[str, ...]


def health(settings: Settings, reader_url: DatabaseUrl, tenant: str) -> Health:
    """How the log stands. Raises AuditError."""
    origin = log_origin(settings.origin, tenant)
    with read_tenant(reader_url, tenant) as reader:
        records, notes = reader.size(), reader.recent_checkpoints(SHOWN)
    signer, note = Signer(settings.keys, origin), cosigned_notes(settings).newest(origin)
    seen = None if note is None else Seen(tree_of(note).size, tuple(stamp for stamp in _stamps(note) if stamp.name != origin))
    anchored = KeptAnchors(settings.keys).size(origin)
    return Health(origin, records, tuple(_signed(*each) for each in notes), seen, anchored, signer.vkeys, signer.former)


def verify_now(settings: Settings, reader_url: DatabaseUrl, tenant: str, watch: Watch) -> Report:
    """Judge the whole log as an outsider would. Raises AuditError when it cannot be read at all."""
    origin = log_origin(settings.origin, tenant)
    with read_tenant(reader_url, tenant) as reader:
        size = reader.size()
    await_checkpoint(reader_url, tenant, size)
    held = newest_kept(checkpoint_file(settings.keys, origin))
    with tempfile.TemporaryDirectory(prefix="verify-", dir=settings.home) as folder:
        made = export_log(settings, reader_url, tenant, Path(folder) / "log", Disclose.NOTHING, watch=watch, tail=Tail.SIGNED)
        return verify(made.folder, (*made.vkeys, *made.former), origin, held)


def await_checkpoint(reader_url: DatabaseUrl, tenant: str, size: int) -> None:
    """Return once a checkpoint covers so many records, or after `PATIENCE_SECONDS`: the log signs about once a second."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with read_tenant(reader_url, tenant) as reader:
            note = reader.newest_checkpoint()
        if note is not None and tree_of(note).size >= size:
            return
        time.sleep(_LOOK_SECONDS)


def await_witnesses(settings: Settings, reader_url: DatabaseUrl, tenant: str, size: int) -> Tail:
    """The same, and then until witnesses, if any are asked, have seen so many records; where an export may end therefore."""
    await_checkpoint(reader_url, tenant, size)
    notes, anchors, origin = cosigned_notes(settings), KeptAnchors(settings.keys), log_origin(settings.origin, tenant)
    deadline = time.monotonic() + WITNESS_SECONDS
    while settings.witnesses and time.monotonic() < deadline:
        seen = notes.newest(origin)
        if seen is not None and tree_of(seen).size >= size:
            return Tail.WITNESSED
        if seen is None and anchors.size(origin) and notes.newest(log_of_checkpoints(origin)) is not None:
            break  # who has cosigned the log of checkpoints and in a minute not this one knows that alone: anchors speak for it
        time.sleep(_LOOK_SECONDS)
    return Tail.SIGNED


def _signed(raw: str, taken_at: datetime) -> Signed:
    checkpoint = tree_of(raw)
    return Signed(checkpoint.size, checkpoint.root, taken_at, _stamps(raw))


def _stamps(raw: str) -> tuple[Stamp, ...]:
    return tuple(Stamp(name, stamp[:4]) for name, stamp in split_note(raw).stamps)
