"""The one pass as the derived formats hear it: records, generations as they end, and checkpoints as they are reached."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from audit import bundle, note
from audit.errors import NoteInvalid
from audit.export.approvals import Approvals
from audit.export.derivation import Derivation, Extras
from audit.export.generations import Generations
from audit.export.opened import Opened
from audit.merkle import CompactRange
from audit.note import Checkpoint

ReadNote: TypeAlias = Callable[[str], Checkpoint]


def note_reader(extras: Extras, origin: str) -> ReadNote:
    """How checkpoints are read: under the attester's key where something is to be signed, else as they stand."""
    attester = extras.attester
    if attester is None:
        return note.tree_of
    return lambda text: note.open_checkpoint(text, [attester.key], origin)


def read_checkpoints(folder: Path, read: ReadNote) -> Generator[Checkpoint]:
    """The checkpoints of a bundle in order, line by line; those that cannot be read are the verifier's to name."""
    with (folder / bundle.CHECKPOINTS).open("rb") as lines:
        for line in lines:
            try:
                yield read(json.loads(line)["note"])
            except NoteInvalid:
                continue


class Telling:
    """Tells derivations of a log, fed in order of seq. Its memory grows with held answers, and with nothing else of the log."""

    def __init__(self, derivations: Sequence[Derivation], checkpoints: Iterator[Checkpoint]) -> None:
        self._derivations, self._checkpoints = derivations, checkpoints
        self._tree, self._generations, self._approvals = CompactRange(), Generations(), Approvals()
        self._next = next(checkpoints, None)
        self.contradicted: int | None = None
        """The size of the first checkpoint whose root the records do not have, None if there is none so far."""

    def leaf(self, leaf: bytes, opened: Opened | None) -> None:
        """The next record's leaf, and the record itself unless its header is damaged."""
        self._tree.append(leaf)
        while self._next is not None and self._next.size < self._tree.size:
            self._next = next(self._checkpoints, None)
        if opened is not None:
            self._record(opened)
        if self._next is not None and self._next.size == self._tree.size:
            self._reach(self._next)

    def end(self) -> None:
        """There are no further records."""
        for told in self._generations.remaining():
            for derivation in self._derivations:
                derivation.generation(told, self._next)
        for approval in self._approvals.all():
            for derivation in self._derivations:
                derivation.approval(approval)

    def _record(self, opened: Opened) -> None:
        self._approvals.add(opened)
        ended = self._generations.add(opened)
        for derivation in self._derivations:
            derivation.record(opened)
            if ended is not None:
                derivation.generation(ended, self._next)

    def _reach(self, signed: Checkpoint) -> None:
        holds = signed.root == self._tree.root()
        if not holds and self.contradicted is None:
            self.contradicted = signed.size
        for derivation in self._derivations:
            derivation.checkpoint(holds)
