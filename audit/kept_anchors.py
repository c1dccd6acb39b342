"""The newest anchor of each log, in a folder beside the keys, so that an export needs nothing of the log of checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from audit.anchor import read_anchor, tree_said
from audit.durable import make_folder, write_durably
from audit.errors import MalformedData, ProofInvalid, SealBroken


@dataclass(frozen=True, slots=True)
class KeptAnchor:
    """An anchor's line, and how many records of the log it tells of."""

    line: bytes
    size: int


class KeptAnchors:
    """One line for each log. A lost one is made again when its log has grown."""

    def __init__(self, keys: Path) -> None:
        self.folder = keys / "anchors"
        make_folder(self.folder)

    def newest(self, origin: str) -> KeptAnchor | None:
        """That of a log, None if there is none that reads."""
        try:
            line = self._file(origin).read_bytes()
            tree = tree_said(read_anchor(line))
        except (FileNotFoundError, MalformedData, ProofInvalid, SealBroken):
            return None
        return KeptAnchor(line, tree.size) if tree.origin == origin else None

    def size(self, origin: str) -> int:
        """Records of the log that its anchor tells of, 0 if there is none."""
        kept = self.newest(origin)
        return 0 if kept is None else kept.size

    def keep(self, origin: str, line: bytes) -> None:
        """Put it in the place of the one before."""
        write_durably(self._file(origin), line)

    def _file(self, origin: str) -> Path:
        return self.folder / f"{quote(origin, safe='')}.json"
