"""The embedded PostgreSQL: one server per PALIMPSEST_HOME, started, adopted and stopped by us.

Promises that a server left over by a killed run is adopted through its own pid file, never by name;
that start and stop are taken by one process at a time; that the last process to leave stops the
server; and that only a Unix socket in a private folder is listened on, with scram passwords.
It is a single-node evaluation store: whoever owns the account can rewrite it, so checkpoints must
leave the machine.
"""

import fcntl
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from urllib.parse import quote

from gateway.postgres_place import Account, Credentials, Place, PostgresError, credentials, find_place, write_private
from gateway.settings import ENCODING, DatabaseUrl
from migrations.cluster import prepare_database

DATABASE = "palimpsest"
_START_SECONDS = 600  # crash recovery may be long; giving up early would look like a lost database
_BURIAL_SECONDS = 10
_CONNECTIONS = 60


class Durability(Enum):
    """What a COMMIT means: DURABLE survives a power cut; VOLATILE is for tests of logic only."""

    DURABLE = "on"
    VOLATILE = "off"


class StopMode(Enum):
    """How pg_ctl stops the server: FAST ends sessions cleanly, IMMEDIATE is a crash on purpose."""

    FAST = "fast"
    IMMEDIATE = "immediate"


@dataclass(slots=True)
class Server:
    """A running server and this process's claim on it; made by `launch()`, ended by `close()`."""

    place: Place
    durability: Durability
    secrets: Credentials = field(repr=False)
    _claim: int = field(repr=False)
    fresh: bool
    """Whether this call made the cluster."""

    def url(self, role: str, database: str = DATABASE) -> DatabaseUrl:
        """The URL of `role` (postgres, gov_owner, gov_app or gov_reader) in `database`."""
        password = getattr(self.secrets, role)
        host = quote(str(self.place.socket), safe="")
        return DatabaseUrl(f"postgresql://{role}:{password}@/{database}?host={host}&port=5432&{ENCODING}")

    @property
    def app_url(self) -> DatabaseUrl:
        """For serving: gov_app may execute audit.append() and use schema app."""
        return self.url("gov_app")

    @property
    def reader_url(self) -> DatabaseUrl:
        """For reading the log: gov_reader sees one tenant at a time."""
        return self.url("gov_reader")

    @property
    def owner_url(self) -> DatabaseUrl:
        """For migrations only."""
        return self.url("gov_owner")

    def start(self) -> None:
        """Start the server if it does not run; a running one is adopted."""
        start(self.place, self.durability)

    def stop(self, mode: StopMode = StopMode.FAST) -> None:
        """Stop the server for every process that uses it; `close()` is the polite form."""
        stop(self.place, mode)

    def close(self) -> None:
        """Give up this process's claim and stop the server if no other process holds one."""
        with _gate(self.place):
            try:
                fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            else:
                stop(self.place, StopMode.FAST)
            finally:
                os.close(self._claim)


def launch(home: Path, durability: Durability = Durability.DURABLE) -> Server:
    """Start or adopt the cluster of `home`, making it on first use; raises PostgresError."""
    try:
        place = find_place(home)
        with _gate(place):
            passwords = credentials(place)
            fresh = not place.data.exists()
            if fresh:
                _initialise(place, passwords, durability)
            server = Server(place, durability, passwords, _share(place), fresh)
    except OSError as error:
        raise PostgresError(f"the embedded PostgreSQL cannot be set up: {error}") from error
    try:
        with _gate(place):
            start(place, durability)
            prepare_database(server.url("postgres", "postgres"), DATABASE, _role_passwords(passwords))
    except BaseException:
        server.close()
        raise
    return server


@contextmanager
def running(home: Path, durability: Durability = Durability.DURABLE) -> Iterator[Server]:
    """`launch()` for a with block; closes on the way out."""
    server = launch(home, durability)
    try:
        yield server
    finally:
        server.close()


def postmaster_pid(place: Place) -> int | None:
    """The pid of the live postmaster of exactly this data directory, from its pid file; None if there is none.

    A pid file that speaks of another folder (a home copied while its server ran) or of a process that is
    no such server (a pid used again after a crash) is removed: pg_ctl believes a pid file, so it would
    refuse to start, or would stop somebody else's process.
    """
    path = place.data / "postmaster.pid"
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return None
    if len(lines) < 2 or not lines[0].isdigit() or lines[1] != str(place.data):
        path.unlink(missing_ok=True)
        return None
    pid = int(lines[0])
    _await_burial(pid)
    if not _alive(pid):
        return None
    if not _works_in(pid, place.data):
        path.unlink(missing_ok=True)
        return None
    return pid


def start(place: Place, durability: Durability) -> None:
    """Start the server and wait until it takes connections, crash recovery included."""
    if postmaster_pid(place) is not None:
        _await_connections(place)
        return
    done = _pg(
        place, "pg_ctl", "start", "-D", str(place.data), "-l", str(place.log), "-w", "-s",
        "-t", str(_START_SECONDS), "-o", _options(place, durability),
    )  # fmt: skip
    if done.returncode != 0:
        tail = place.log.read_text(errors="replace")[-800:] if place.log.exists() else ""
        raise PostgresError(f"PostgreSQL did not start; its log {place.log} ends:\n{tail}")


def stop(place: Place, mode: StopMode) -> None:
    """Stop the server named by the data directory's own pid file; nothing happens if there is none."""
    if postmaster_pid(place) is None:
        return
    arguments = ("stop", "-D", str(place.data), "-m", mode.value, "-w", "-t", str(_START_SECONDS), "-s")
    done = _pg(place, "pg_ctl", *arguments)
    if done.returncode != 0 and postmaster_pid(place) is not None:
        raise PostgresError(f"PostgreSQL did not stop: {done.stderr.strip()}")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _await_burial(pid: int) -> None:
    """A killed process keeps its id, which PostgreSQL's own lock files believe in, until its parent has collected it."""
    deadline = time.monotonic() + _BURIAL_SECONDS
    while _unburied(pid) and time.monotonic() < deadline:
        time.sleep(0.02)


def _unburied(pid: int) -> bool:
    entry = Path(f"/proc/{pid}")
    try:
        entry.joinpath("cwd").readlink()
    except FileNotFoundError:  # dead, or gone: it is in no folder any more
        return entry.exists()
    except PermissionError:
        pass
    return False


def _works_in(pid: int, data: Path) -> bool:
    """Whether the process works in the data directory, as a postmaster does; believed where /proc cannot say.

    Root without CAP_SYS_PTRACE, as in most containers, may not ask where another account's process works; its command line
    anyone may read, and a postmaster's names the directory.
    """
    entry = Path(f"/proc/{pid}")
    try:
        return entry.joinpath("cwd").readlink() in (data, data.resolve())
    except PermissionError:
        return os.fsencode(data) in entry.joinpath("cmdline").read_bytes().split(b"\0")
    except OSError:
        return not Path("/proc/self/cwd").exists()


def _await_connections(place: Place) -> None:
    """Wait for an adopted server that is still in crash recovery."""
    deadline = time.monotonic() + _START_SECONDS
    while _pg(place, "pg_isready", "-q", "-h", str(place.socket), "-p", "5432").returncode != 0:
        if postmaster_pid(place) is None or time.monotonic() > deadline:
            raise PostgresError(f"the running PostgreSQL takes no connections; see its log {place.log}")
        time.sleep(0.05)


def _role_passwords(passwords: Credentials) -> dict[str, str]:
    return {
        "gov_owner": passwords.gov_owner,
        "gov_app": passwords.gov_app,
        "gov_reader": passwords.gov_reader,
    }


def _initialise(place: Place, passwords: Credentials, durability: Durability) -> None:
    """initdb into a folder of another name, renamed when whole, so a killed run leaves nothing half made."""
    partial = place.log.parent / "data.new"
    shutil.rmtree(partial, ignore_errors=True)
    secret = place.log.parent / "initdb.password"
    write_private(secret, passwords.postgres.encode(), place.account)
    try:
        done = _pg(
            place, "initdb", "-D", str(partial), "-U", "postgres",
            "--auth=scram-sha-256", f"--pwfile={secret}", *([] if durability is Durability.DURABLE else ["-N"]),
            "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
        )  # fmt: skip
    finally:
        secret.unlink()
    if done.returncode != 0:
        raise PostgresError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
    partial.rename(place.data)


def _options(place: Place, durability: Durability) -> str:
    """Our settings, given at each start: no file in a folder of another account is written by root."""
    settings = {
        "listen_addresses": "",
        "port": "5432",
        "unix_socket_directories": str(place.socket),
        "unix_socket_permissions": "0700",
        "max_connections": str(_CONNECTIONS),
        "fsync": durability.value,
        "full_page_writes": durability.value,
        "timezone": "UTC",
    }
    return " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())


def _pg(place: Place, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the wheel's programs as the account that owns the data, in a folder it may enter."""
    account: Account | None = place.account
    return subprocess.run(
        [str(place.programs / program), *arguments],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        cwd=place.log.parent if account is None else place.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        umask=0o077,
        check=False,
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
    )


@contextmanager
def _gate(place: Place) -> Iterator[None]:
    """Hold the lock that one process at a time takes to make, start or stop this cluster."""
    handle = os.open(place.folder / "gate.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _share(place: Place) -> int:
    """Claim the server; the kernel drops the claim of a killed process."""
    handle = os.open(place.folder / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_SH)
    return handle
