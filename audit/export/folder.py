"""The folder of derived files: each is hashed while it is written, and `derived.sha256` lists them all.

The list has the form that `sha256sum --check` reads, and stands in the manifest like a file of the evidence: so the manifest
fixes every derived file, however many there are.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from audit.bundle import DERIVED, Measured
from audit.durable import make_folder


class DerivedFile(io.RawIOBase):
    """A file that is written once, from start to end, and hashed on the way."""

    def __init__(self, folder: Folder, name: str) -> None:
        path = folder.path / name
        make_folder(path.parent)
        self._folder, self._name = folder, name
        self._file, self._digest = path.open("xb"), hashlib.sha256()

    def writable(self) -> bool:
        """True: this is all that it can."""
        return True

    def write(self, data: object, /) -> int:
        """Append bytes, or anything that gives its bytes."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]  # io takes any buffer and has no name for it
        self._digest.update(view)
        return self._file.write(view)

    def tell(self) -> int:
        """Bytes so far."""
        return self._file.tell()

    def close(self) -> None:
        """Finish the file and list it; a second call does nothing."""
        if not self.closed:
            self._file.close()
            self._folder.list_file(self._name, self._digest.hexdigest())
        super().close()


class Folder:
    """Where derived files go. Leaving it closes the list; nothing is listed when nothing was derived."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = 0
        self.listed = Measured()
        """The list so far."""
        self._list: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._list is not None:
            self._list.close()

    def open(self, name: str) -> DerivedFile:
        """A new derived file; `name` is relative, with forward slashes."""
        return DerivedFile(self, name)

    def write(self, name: str, data: bytes) -> None:
        """A whole derived file at once."""
        with self.open(name) as file:
            file.write(data)

    def list_file(self, name: str, digest: str) -> None:
        """Take a finished file into the list."""
        if self._list is None:
            self._list = (self.path / DERIVED).open("xb")
        line = f"{digest}  {name}\n".encode()
        self._list.write(line)
        self.listed.feed(line)
        self.files += 1
