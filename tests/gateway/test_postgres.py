"""The launcher starts, adopts and stops exactly its own server, and leaves no secret open."""

import importlib.util
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from gateway import postgres_place
from gateway.postgres import Durability, StopMode, launch, postmaster_pid, running, stop
from gateway.postgres_place import PostgresError, credentials, find_place
from tests.postgres_fixtures import discard


@pytest.fixture
def unused(tmp_path: Path) -> Iterator[Path]:
    """A home that nobody has used; whatever still runs there in the end is stopped and removed."""
    folder = tmp_path / "var"
    yield folder
    discard(launch(folder, Durability.VOLATILE))


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home that has a cluster."""
    folder = tmp_path_factory.mktemp("used") / "var"
    launch(folder, Durability.VOLATILE).close()
    yield folder
    discard(launch(folder, Durability.VOLATILE))


@pytest.fixture
def home(used: Path) -> Iterator[Path]:
    """The module's home, where nothing runs; each test leaves it so."""
    place = find_place(used)
    assert postmaster_pid(place) is None
    yield used
    left = postmaster_pid(place)
    stop(place, StopMode.IMMEDIATE)
    assert left is None


def test_a_home_works_twice_and_stops_cleanly(unused: Path) -> None:
    """A server starts on first use, keeps its data, starts again, and is gone after each close."""
    for _ in range(2):
        with running(unused, Durability.VOLATILE) as server:
            assert postmaster_pid(server.place) is not None
            with psycopg.connect(server.owner_url) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
                connection.execute("INSERT INTO kept VALUES (1)")
        assert postmaster_pid(server.place) is None
    with running(unused, Durability.VOLATILE) as server, psycopg.connect(server.owner_url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (2,)


def test_the_last_user_stops_the_server(home: Path) -> None:
    """Two users share one postmaster; it outlives the first to leave and not the second."""
    first = launch(home, Durability.VOLATILE)
    second = launch(home, Durability.VOLATILE)
    pid = postmaster_pid(first.place)
    assert pid == postmaster_pid(second.place)
    first.close()
    assert postmaster_pid(second.place) == pid
    second.close()
    assert postmaster_pid(second.place) is None


def test_a_server_left_by_a_killed_run_is_adopted(home: Path) -> None:
    """After SIGKILL of its user the same postmaster serves the next run, which also stops it."""
    script = (
        "import sys, time; from pathlib import Path; from gateway.postgres import Durability, launch;"
        "s = launch(Path(sys.argv[1]), Durability.VOLATILE); print('up', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(home)], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None and run.stdout.readline() == "up\n"
        left = postmaster_pid(find_place(home))
        run.kill()
    with running(home, Durability.VOLATILE) as server:
        assert left is not None and postmaster_pid(server.place) == left
    assert postmaster_pid(server.place) is None


def test_two_homes_never_meet(home: Path, tmp_path: Path) -> None:
    """Two homes have two postmasters, two sockets and no password in common."""
    other = tmp_path / "other"
    with running(home, Durability.VOLATILE) as one, running(other, Durability.VOLATILE) as two:
        assert postmaster_pid(one.place) != postmaster_pid(two.place)
        assert one.place.socket != two.place.socket
        assert one.secrets.gov_app != two.secrets.gov_app
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(one.app_url.replace(one.secrets.gov_app, two.secrets.gov_app))
    discard(launch(other, Durability.VOLATILE))


def test_a_pid_file_of_somebody_else_is_not_believed(home: Path) -> None:
    """A pid file naming a live stranger stops nothing and does not hinder a start."""
    with running(home, Durability.VOLATILE) as server:
        place = server.place
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stranger:
        for folder in ("/somewhere/else", str(place.data)):
            (place.data / "postmaster.pid").write_text(f"{stranger.pid}\n{folder}\n{int(time.time())}\n")
            assert postmaster_pid(place) is None
        with running(home, Durability.VOLATILE):
            assert stranger.poll() is None
        assert stranger.poll() is None
        stranger.send_signal(signal.SIGTERM)


def test_a_server_that_root_may_not_look_into_is_known(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another account's working folder cannot be read, as in a container, its command line tells server and stranger."""
    read, own = Path.readlink, os.getpid()

    def refused(path: Path) -> Path:
        if path.match("/proc/*/cwd") and path.parent.name not in ("self", str(own)):
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "readlink", refused)
    with running(home, Durability.VOLATILE) as server:
        assert postmaster_pid(server.place) is not None and (server.place.data / "postmaster.pid").exists()
        with running(home, Durability.VOLATILE) as again, psycopg.connect(again.owner_url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        place = server.place
    assert postmaster_pid(place) is None
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stranger:
        (place.data / "postmaster.pid").write_text(f"{stranger.pid}\n{place.data}\n{int(time.time())}\n")
        assert postmaster_pid(place) is None
        stranger.send_signal(signal.SIGTERM)


def test_secrets_and_folders_are_private(home: Path) -> None:
    """Passwords are 0600, data and socket folders 0700, and nothing listens on the network."""
    with running(home, Durability.VOLATILE) as server:
        place = server.place
        assert stat.S_IMODE((place.folder / "credentials.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(place.data.stat().st_mode) == 0o700
        assert stat.S_IMODE(place.socket.stat().st_mode) == 0o700
        assert not (place.log.parent / "initdb.password").exists()
        assert server.secrets.gov_app not in repr(server)
        with psycopg.connect(server.owner_url) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
            assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        with pytest.raises(psycopg.OperationalError, match="no password"):
            psycopg.connect(f"postgresql://postgres@/postgres?host={place.socket}", passfile="/nonexistent")


def test_root_is_dropped_and_says_so(home: Path) -> None:
    """As root the server runs as another account in a place of its own, in one line; else nothing is said."""
    with running(home, Durability.VOLATILE) as server:
        pid = postmaster_pid(server.place)
        assert Path(f"/proc/{pid}").stat().st_uid != 0
        if os.geteuid() == 0:
            assert server.place.notice is not None and "\n" not in server.place.notice
        else:
            assert server.place.notice is None


def test_lost_passwords_are_named_and_never_replaced(home: Path) -> None:
    """A cluster whose password file is gone is refused with the file's name, not opened with a new one."""
    with running(home, Durability.VOLATILE) as server:
        place = server.place
    path = place.folder / "credentials.json"
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(PostgresError, match="restore"):
        credentials(place)
    path.write_bytes(b"{}")
    with pytest.raises(PostgresError, match="damaged"):
        credentials(place)
    path.write_bytes(kept)


def test_a_crash_is_recovered_at_the_next_start(unused: Path) -> None:
    """After an immediate stop the data are there again."""
    with running(unused) as server:
        with psycopg.connect(server.owner_url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        server.stop(StopMode.IMMEDIATE)
        server.start()
        with psycopg.connect(server.owner_url) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_a_socket_path_too_long_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket path beyond the system's limit is an error that says what to do."""
    monkeypatch.setattr(postgres_place, "_SOCKET_LIMIT", 10)
    with pytest.raises(PostgresError, match="too long"):
        find_place(tmp_path / "var")
    monkeypatch.undo()
    place = find_place(tmp_path / "var")
    for folder in (place.socket, place.folder):
        shutil.rmtree(folder)


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the message names the extra to install and the setting to use instead."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(PostgresError, match="PALIMPSEST_DATABASE_URL"):
        postgres_place.wheel_programs()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A link or a folder open to others is never taken for a private folder."""
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(tmp_path / "sock"))
        for name in ("link", "open", "sock"):
            with pytest.raises(PostgresError, match="move it away"):
                postgres_place._folder(tmp_path / name, 0o700, None)
