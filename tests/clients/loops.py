"""A loop: one client at a gateway, which is to write one file.

It is finished when the client has ended by itself with success and the file holds the words that the model chose.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.clients.held import FILE

SECONDS: Final = 1800
"""Time that a client may take, on a machine that has other things to do, with answers that are held."""
_WRITTEN: Final = re.compile(r"[a-z]{2,9}( [a-z]{2,9}){1,4}\n?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client works: an empty folder, a home of its own, and a gateway with a key of it."""

    folder: Path
    home: Path
    url: str
    key: str
    model: str

    @property
    def written(self) -> bool:
        """Whether the file is there, and of the form that the model was held to."""
        file = self.folder / FILE
        return file.exists() and _WRITTEN.fullmatch(file.read_text(encoding="utf-8")) is not None


@dataclass(frozen=True, slots=True)
class Loop:
    """One client at work. `run` returns what kept it from its end, or nothing."""

    name: str
    version: str
    run: Callable[[Place], str]
