"""Real PostgreSQL for tests: one cluster per session, one copied database per test.

`database` is for laws of logic (fsync off), and lies in memory where there is enough; `durable_database` is on a second
cluster with fsync on, on disk, whose server a test may stop, crash and start again.
"""

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from gateway.postgres import Durability, Server, StopMode, launch, postmaster_pid
from migrations.run import upgrade

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a file system of memory; folders there are private and named at random
_ENOUGH: Final = 2 << 30
_NAME: Final = "palimpsest-tests"
_fast: Final[dict[Path, psycopg.Connection[Any]]] = {}
"""By cluster: the superuser's session of each one whose copies lie in memory."""


@dataclass(frozen=True, slots=True)
class Database:
    """A migrated, empty database of its own and the URLs of its roles."""

    server: Server
    name: str

    @property
    def app_url(self) -> str:
        """As the gateway serves."""
        return self.server.url("gov_app", self.name)

    @property
    def reader_url(self) -> str:
        """As the log is read."""
        return self.server.url("gov_reader", self.name)

    @property
    def owner_url(self) -> str:
        """As migrations run."""
        return self.server.url("gov_owner", self.name)

    @property
    def superuser_url(self) -> str:
        """As an intruder with every right."""
        return self.server.url("postgres", self.name)

    def crash(self) -> None:
        """Stop the server without letting it finish anything, and start it again."""
        self.server.stop(StopMode.IMMEDIATE)
        self.server.start()

    def freeze(self) -> None:
        """Stop the postmaster and its sessions from running, without closing anything."""
        for pid in _family(self.server):
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server run on."""
        for pid in _family(self.server):
            with suppress(ProcessLookupError):  # a session may have died while it was frozen
                os.kill(pid, signal.SIGCONT)


def discard(server: Server) -> None:
    """Stop a test's server at once and remove its data."""
    server.stop(StopMode.IMMEDIATE)
    server.close()
    for folder in (server.place.socket, server.place.folder):
        shutil.rmtree(folder, ignore_errors=True)


def _family(server: Server) -> list[int]:
    postmaster = postmaster_pid(server.place)
    assert postmaster is not None
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *map(int, children)]


@contextmanager
def running(home: Path, durability: Durability) -> Iterator[Server]:
    """A migrated server of its own, which is gone afterwards."""
    server = launch(home, durability)
    try:
        upgrade(server.owner_url)
        yield server
    finally:
        discard(server)


@contextmanager
def copied(server: Server) -> Iterator[Database]:
    """A fresh migrated database of its own, which is dropped afterwards."""
    name = f"t{uuid.uuid4().hex}"
    where = " TABLESPACE fast" if server.place.folder in _fast else ""
    _command(server, f"CREATE DATABASE {name} OWNER gov_owner TEMPLATE palimpsest{where} STRATEGY file_copy")
    yield Database(server, name)
    _command(server, f"DROP DATABASE {name} WITH (FORCE)")


def _command(server: Server, statement: str) -> None:
    if (session := _fast.get(server.place.folder)) is not None:
        session.execute(statement)
    else:
        with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def in_memory(server: Server) -> Iterator[None]:
    """Copies of this server's database lie in memory meanwhile, if there is enough; only for a server that never restarts."""
    _sweep()
    if not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < _ENOUGH:
        yield
        return
    folder = Path(tempfile.mkdtemp(prefix=f"{_NAME}-{os.getpid()}-", dir=_MEMORY))
    try:
        if (account := server.place.account) is not None:
            os.chown(folder, account.uid, account.gid)
        with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as session:
            session.execute(f"CREATE TABLESPACE fast LOCATION '{folder}'")
            _fast[server.place.folder] = session
            try:
                yield
            finally:
                del _fast[server.place.folder]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """Remove what runs that were killed have left in memory; whose it was is in the name."""
    for left in _MEMORY.glob(f"{_NAME}-*-*"):
        if not Path(f"/proc/{left.name.removeprefix(_NAME).split('-')[1]}").exists():
            shutil.rmtree(left, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The session's fast server."""
    with running(tmp_path_factory.mktemp("cluster"), Durability.VOLATILE) as server, in_memory(server):
        yield server


@pytest.fixture
def database(cluster: Server) -> Iterator[Database]:
    """A fresh migrated database."""
    with copied(cluster) as database:
        yield database


@pytest.fixture(scope="session")
def durable_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose COMMIT is kept across a crash."""
    with running(tmp_path_factory.mktemp("durable"), Durability.DURABLE) as server:
        yield server


@pytest.fixture
def durable_database(durable_cluster: Server) -> Iterator[Database]:
    """A fresh migrated database that a test may crash; the server runs again afterwards."""
    durable_cluster.start()
    with copied(durable_cluster) as database:
        yield database
        durable_cluster.start()
