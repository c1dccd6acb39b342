"""A database on a disk that can be filled and freed: a small tmpfs, or a limit on file sizes where nothing may be mounted.

PostgreSQL's own files, the write-ahead log among them, stay where they are: what fills up is the disk of the tables.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import psycopg

from tests.faults.rounds import workers
from tests.postgres_fixtures import Database

DISK_MEGABYTES = 96
FILE_BYTES = 16 * 1024 * 1024
"""A segment of the write-ahead log, which a limit on files must leave alone: without it PostgreSQL stops altogether."""


class Disk(Protocol):
    """Where the tables lie; `complaint` is what PostgreSQL says when they cannot grow."""

    complaint: str

    def fill(self) -> None:
        """From now on no table grows."""

    def free(self) -> None:
        """There is room again."""


class SmallDisk:
    """A tmpfs of a few megabytes, filled by a file of ours."""

    complaint = "No space left on device"

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        self._ballast.unlink()


class SmallFiles:
    """No process of the server may write behind the first 16 MiB of a file, which is where the tables have to grow by then."""

    complaint = "File too large"

    def __init__(self, database: Database) -> None:
        self._server = database.server

    def fill(self) -> None:
        self._limit(str(FILE_BYTES))

    def free(self) -> None:
        self._limit("unlimited")

    def _limit(self, most: str) -> None:
        """Set the soft limit of every process of the server, as the account that they belong to."""
        account = self._server.place.account
        who: dict[str, Any] = {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}
        for pid in workers(self._server.place.data):
            command = [_program("prlimit"), "--pid", str(pid), f"--fsize={most}:"]
            done = subprocess.run(command, check=False, **who)
            assert done.returncode == 0 or not Path(f"/proc/{pid}").exists()


@contextmanager
def small_files(database: Database) -> Iterator[Disk]:
    """The database where it is, under a limit on the size of its files."""
    yield SmallFiles(database)


@contextmanager
def small_disk(database: Database) -> Iterator[Disk]:
    """The database moved to a disk of its own; where nothing may be mounted, under a limit on the size of its files."""
    folder = database.server.place.folder / "small"
    folder.mkdir()
    if not _mount(folder, database):
        folder.rmdir()
        yield SmallFiles(database)
        return
    try:
        _administer(database, f"CREATE TABLESPACE small LOCATION '{folder}'")
        _administer(database, f"ALTER DATABASE {database.name} SET TABLESPACE small")
        yield SmallDisk(folder)
        _administer(database, f"ALTER DATABASE {database.name} SET TABLESPACE pg_default")
        _administer(database, "DROP TABLESPACE small")
    finally:
        subprocess.run([_program("umount"), "--lazy", str(folder)], check=True)
        folder.rmdir()


def _mount(folder: Path, database: Database) -> bool:
    owner = database.server.place.data.stat()
    options = f"size={DISK_MEGABYTES}m,mode=0700,uid={owner.st_uid},gid={owner.st_gid}"
    command = [_program("mount"), "-t", "tmpfs", "-o", options, "palimpsest-test", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _program(name: str) -> str:
    return shutil.which(name) or f"/bin/{name}"


def _administer(database: Database, statement: str) -> None:
    """Run one statement from beside the database, which nobody may use while it is moved."""
    with psycopg.connect(database.server.url("postgres", "postgres"), autocommit=True) as superuser:
        superuser.execute(statement)
