"""The newest anchor of each log, in a folder beside the keys, so that an export needs nothing of the log of checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from audit.anchor import check_anchor, read_anchor
from audit.durable import make_folder, write_durably
from audit.errors import AuditError
from audit.ledger import log_origin
from audit.signer import known_keys
from audit.writer import SYSTEM


def log_of_checkpoints(origin: str) -> str:
    """The origin of that of the installation whose log `origin` is."""
    return log_origin(origin.rpartition("/")[0], SYSTEM)


@dataclass(frozen=True, slots=True)
class KeptAnchor:
    """An anchor's line, and how many records of the log it tells of."""

    line: bytes
    size: int


class KeptAnchors:
    """One line for each log. A lost one is made again when its log has grown."""

    def __init__(self, keys: Path) -> None:
        self._keys, self.folder = keys, keys / "anchors"
        self._proved: dict[str, KeptAnchor] = {}
        make_folder(self.folder)

    def newest(self, origin: str) -> KeptAnchor | None:
        """That of a log, None if there is none that the log of checkpoints proves."""
        try:
            line = self._file(origin).read_bytes()
            kept = self._proved.get(origin)
            if kept is None or kept.line != line:
                if not (keys := known_keys(self._keys, log_of_checkpoints(origin))):
                    return None
                kept = KeptAnchor(line, check_anchor(read_anchor(line), keys, origin).tree.size)
                self._proved[origin] = kept
        except (FileNotFoundError, AuditError):
            return None
        return kept

    def size(self, origin: str) -> int:
        """Records of the log that its anchor tells of, 0 if there is none."""
        kept = self.newest(origin)
        return 0 if kept is None else kept.size

    def keep(self, origin: str, line: bytes) -> None:
        """Put it in the place of the one before."""
        write_durably(self._file(origin), line)

    def _file(self, origin: str) -> Path:
        return self.folder / f"{quote(origin, safe='')}.json"
