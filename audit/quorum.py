"""How many witnesses must have seen a checkpoint before it counts: k of n, by name.

A witness may sign with several keys; it is still one witness. Witness keys are kept apart from the log's keys, so that
a log can never stand in for a witness nor a witness for the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit import note
from audit.errors import NoteInvalid
from audit.note import Checkpoint, Scheme, Signature, VerifierKey


@dataclass(frozen=True, slots=True)
class Quorum:
    """At least `required` distinct names among the holders of `keys`; raises NoteInvalid if that cannot be."""

    required: int
    keys: tuple[VerifierKey, ...]

    def __post_init__(self) -> None:
        names = {key.name for key in self.keys}
        if not 1 <= self.required <= len(names):
            raise NoteInvalid(f"{self.required} of {len(names)} witnesses can never be reached, or asks for nothing")
        if any(key.scheme is Scheme.ED25519 for key in self.keys):
            raise NoteInvalid("a witness key is of type 0x04 or 0x06: plain Ed25519 keys sign no cosignatures")


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint that its log signed and enough witnesses have seen, with the witnesses' signatures and times."""

    checkpoint: Checkpoint
    witnesses: tuple[Signature, ...]


def open_cosigned(raw: str, keys: Sequence[VerifierKey], origin: str, witnesses: Quorum) -> Cosigned:
    """Open a note signed by one of the log's `keys` for `origin` and cosigned as `witnesses` demands.

    A cosignature that states no time does not count. Raises NoteInvalid.
    """
    if set(keys) & set(witnesses.keys):
        raise NoteInvalid("a key cannot speak for the log and for a witness")
    checkpoint = note.open_checkpoint(raw, keys, origin)
    signatures = note.verify_note(note.split_note(raw), witnesses.keys)
    timed = tuple(signature for signature in signatures if signature.seconds)
    present = len({signature.key.name for signature in timed})
    if present < witnesses.required:
        raise NoteInvalid(f"{present} of {witnesses.required} required witnesses have cosigned this checkpoint")
    return Cosigned(checkpoint, timed)
