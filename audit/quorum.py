"""How many witnesses must have seen a checkpoint before it counts: k of n, by name.

A witness may sign with several keys; it is still one witness. Witness keys are kept apart from the log's keys, so that
a log can never stand in for a witness nor a witness for the log.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
        if len({key.public for key in self.keys}) != len({(key.name, key.public) for key in self.keys}):
            raise NoteInvalid("one key under the names of several witnesses is one witness: ask whoever runs them for others")
        if any(key.scheme is Scheme.ED25519 for key in self.keys):
            raise NoteInvalid("a witness key is of type 0x04 or 0x06: plain Ed25519 keys sign no cosignatures")

    def __str__(self) -> str:
        return f"{self.required} of {len({key.name for key in self.keys})} witnesses"

    def require_others(self, keys: Collection[VerifierKey]) -> None:
        """Raises NoteInvalid when one of the log's `keys` is among the witnesses', under whatever name and scheme."""
        if {key.public for key in keys} & {key.public for key in self.keys}:
            raise NoteInvalid("a key cannot speak for the log and for a witness")

    def seen(self, raw: str) -> tuple[Signature, ...]:
        """The cosignatures on a note, of which one that states no time does not count. Raises NoteInvalid for a wrong one."""
        return tuple(signature for signature in note.verify_note(note.split_note(raw), self.keys) if signature.seconds)

    def reached(self, signatures: Sequence[Signature]) -> bool:
        """Whether these are of enough witnesses."""
        return len({signature.key.name for signature in signatures}) >= self.required


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint that its log signed and enough witnesses have seen, with the witnesses' signatures and times."""

    checkpoint: Checkpoint
    witnesses: tuple[Signature, ...]


def open_cosigned(raw: str, keys: Sequence[VerifierKey], origin: str, witnesses: Quorum) -> Cosigned:
    """Open a note signed by one of the log's `keys` for `origin` and cosigned as `witnesses` demands.

    A cosignature that states no time does not count. Raises NoteInvalid.
    """
    witnesses.require_others(keys)
    checkpoint = note.open_checkpoint(raw, keys, origin)
    seen = witnesses.seen(raw)
    if not witnesses.reached(seen):
        present = len({signature.key.name for signature in seen})
        raise NoteInvalid(f"{present} of {witnesses.required} required witnesses have cosigned this checkpoint")
    return Cosigned(checkpoint, seen)
