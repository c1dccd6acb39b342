"""Files that survive a crash: written whole or not at all, in private folders, under a lock.

Every write is temp file, fsync, rename, fsync of the folder, so that a crash leaves the old or the new state.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from audit.errors import KeyUnavailable

_LOOK_SECONDS: Final = 0.05


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file so that a crash at any instant leaves either the old or the new bytes; mode 0600."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and creations inside a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Create a private folder and its parents durably; an existing one is left as it is."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


@contextmanager
def appending(path: Path) -> Iterator[BinaryIO]:
    """A private file that only grows, with its folder, to be read and added to; durable at the end."""
    make_folder(path.parent)
    is_new = not path.exists()
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "a+b") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_folder(path.parent)


def ending(file: BinaryIO) -> bytes:
    """What ends a last line that a crash or a full disk tore, lest it swallow the next; nothing after a whole one."""
    file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
    return b"" if file.read() in {b"", b"\n"} else b"\n"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's exclusive lock; other processes and threads wait."""
    with _lock(folder) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@asynccontextmanager
async def sole(folder: Path) -> AsyncIterator[None]:
    """Hold the same lock in a coroutine. Whoever waits occupies no thread: the holder may need them."""
    with _lock(folder) as handle:
        while not taken(handle):  # noqa: ASYNC110 - no event comes from another process
            await asyncio.sleep(_LOOK_SECONDS)
        yield


@contextmanager
def _lock(folder: Path) -> Iterator[int]:
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield handle
    finally:
        os.close(handle)


def taken(handle: int) -> bool:
    """Whether the lock of an open file or folder was free; it is held from now on, until the handle is closed."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_secret(path: Path) -> bytes:
    """The 32 bytes of a key file; raises KeyUnavailable for one that is missing or damaged."""
    raw = path.read_bytes() if path.is_file() else b""
    if len(raw) != 32:
        raise KeyUnavailable(f"{path} is {'damaged' if raw else 'missing or damaged'}; restore it from its backup")
    return raw


def own_secret(path: Path) -> bytes:
    """The same of a file that is made on first use; the caller holds the folder's lock."""
    if not path.exists():
        write_durably(path, secrets.token_bytes(32))
    return read_secret(path)
