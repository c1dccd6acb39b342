"""The newest anchor of each log, in a folder beside the keys, so that an export needs nothing of the log of checkpoints."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from audit.anchor import read_anchor, tree_said
from audit.durable import make_folder, write_durably
from audit.errors import MalformedData, ProofInvalid, SealBroken


class KeptAnchors:
    """One line for each log. A lost one is made again when its log has grown."""

    def __init__(self, keys: Path) -> None:
        self.folder = keys / "anchors"
        make_folder(self.folder)

    def newest(self, origin: str) -> bytes | None:
        """The line about a log, None if there is none that reads."""
        try:
            line = self._file(origin).read_bytes()
            return line if tree_said(read_anchor(line)).origin == origin else None
        except (FileNotFoundError, MalformedData, ProofInvalid, SealBroken):
            return None

    def size(self, origin: str) -> int:
        """Records of the log that the line tells of, 0 if there is none."""
        line = self.newest(origin)
        return 0 if line is None else tree_said(read_anchor(line)).size

    def keep(self, origin: str, line: bytes) -> None:
        """Put it in the place of the one before."""
        write_durably(self._file(origin), line)

    def _file(self, origin: str) -> Path:
        return self.folder / f"{quote(origin, safe='')}.json"
