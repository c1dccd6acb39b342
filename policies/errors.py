"""What is wrong with a policy, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: which file, at which line (None if the file does not say it), which dotted key, and why."""

    file: Path
    line: int | None
    path: str
    reason: str

    def __str__(self) -> str:
        place = str(self.file) if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.path}: {self.reason}" if self.path else f"{place}: {self.reason}"


class PolicyError(Exception):
    """A policy that cannot be used: which file, which key (dotted; empty for the whole file), and why.

    `others` are faults that were found beside the one that is told.
    """

    def __init__(self, file: Path, path: str, reason: str, line: int | None = None, others: tuple[Finding, ...] = ()) -> None:
        self.finding = Finding(file, line, path, reason)
        self.others = others
        super().__init__(str(self.finding))
        self.file = file
        self.path = path
        self.reason = reason
        self.line = line
