"""How long this machine takes to put a page of a file on the disk, which is what every commit waits for at least."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Final

PAGE: Final = 8192
FILE: Final = 16 << 20
"""Bytes of a page and of a segment of PostgreSQL's write-ahead log, which is overwritten in place as well."""


class Fsync:
    """A file as long as a segment, page after page of which is written and flushed."""

    def __init__(self, handle: int) -> None:
        self._handle, self._page = handle, 0

    @classmethod
    @contextmanager
    def in_folder(cls, folder: Path) -> Iterator[Fsync]:
        """A file on the disk of this folder, for as long as it is used."""
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(FILE))
            file.flush()
            os.fsync(file.fileno())
            yield cls(file.fileno())

    def once(self) -> float:
        """Write one page and flush it; the seconds that the flush took."""
        os.pwrite(self._handle, os.urandom(PAGE), self._page * PAGE)
        self._page = (self._page + 1) % (FILE // PAGE)
        before = perf_counter()
        os.fdatasync(self._handle)
        return perf_counter() - before
